"""The console command ``ros2-derain``: imports the subcommand's module and runs it.

A subcommand is a module with ``add_arguments(parser)`` and ``main(args) -> int``.
It is imported only when it is used, so that ``--help`` needs neither ROS nor torch.
"""

from __future__ import annotations

import argparse
import importlib
import io
import signal
import sys
from importlib import metadata

from ros2_derain import environment

COMMANDS = {
    "run": ("ros2_derain.nodes.run", "run the pipeline on a camera topic"),
    "demo": (
        "ros2_derain.demo",
        "run the pipeline on the sample clip with rendered rain, and write a report",
    ),
    "bench": ("ros2_derain.bench.command", "measure throughput and latency on this machine"),
    "evaluate": (
        "ros2_derain.evaluate.command",
        "score models: restoration, perception, real rain, rain gate, wet glass",
    ),
    "replay": (
        "ros2_derain.replay.command",
        "run the pipeline on recorded bags: outputs, cost of rain, pass or fail",
    ),
    "bag": ("ros2_derain.bags.command", "inspect bags; make them from images and videos"),
    "drill": (
        "ros2_derain.drill.command",
        "inject faults and overload into a running pipeline, and judge it",
    ),
    "metrics": ("ros2_derain.nodes.prometheus", "serve diagnostics to Prometheus on the loopback interface"),
    "rain": ("ros2_derain.rain_media.command", "render rain onto images, videos and bags"),
    "models": (
        "ros2_derain.model_tools.command",
        "list the installed models; import networks, export them as ONNX, quantise them; sizes",
    ),
    "label": (
        "ros2_derain.model_tools.labelling",
        "label images by a model where it is confident, to train on them",
    ),
    "train": ("ros2_derain.learning.train", "train a recipe of config/recipes/"),
    "ablate": ("ros2_derain.learning.ablate", "repeat the ablations of the five papers"),
    "export": ("ros2_derain.learning.export", "make a model folder from training runs"),
}
"""Name of a subcommand -> its module, and its line in the help."""

RUN_PIPELINE = ("run", "demo", "bench", "drill")
"""Subcommands that run the nodes; ``replay --live`` does, too."""

FAILED, INTERRUPTED, BY_SIGNAL = 2, 130, 128


def main(argv: list[str] | None = None) -> int:
    """Run the subcommand that ``argv`` (by default the command line) names.

    Returns:
        The exit status: the subcommand's own, 2 for an error of the project's own classes,
        which is printed in one line, 130 for Ctrl-C. SIGTERM exits with 143 and a closed
        terminal (SIGHUP) with 129, with the same clean-up as Ctrl-C.
    """
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # the terminal, and file names, need not be UTF-8
            stream.reconfigure(errors="backslashreplace")
    chosen = _parser().parse_args(argv[:1]).command
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # e.g. under nohup
            signal.signal(number, _terminate)
    try:
        environment.prepare()
        module = importlib.import_module(COMMANDS[chosen][0])
        parser = argparse.ArgumentParser(
            prog=f"ros2-derain {chosen}", formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(parser)
        args = parser.parse_args(argv[1:])
        if chosen in RUN_PIPELINE or getattr(args, "live", False):
            environment.warn_of_small_shared_memory()
        return module.main(args)
    except KeyboardInterrupt:
        return INTERRUPTED
    except UnicodeEncodeError as error:
        if error.reason != "surrogates not allowed":
            raise
        print(
            f"ros2-derain {chosen}: {error.object!r} is not UTF-8, as ROS 2 requires: rename it",
            file=sys.stderr,
        )
        return FAILED
    except Exception as error:
        if not _is_for_the_user(error):
            raise
        print(f"ros2-derain {chosen}: {error}", file=sys.stderr)
        return FAILED


def version() -> str:
    """The version of the installed package."""
    try:
        return metadata.version("ros2_derain")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"


def _terminate(number: int, _) -> None:
    sys.exit(BY_SIGNAL + number)


def _is_for_the_user(error: Exception) -> bool:
    """Whether the message is for the user: the project's own errors and those of files; others are bugs."""
    return type(error).__module__.startswith("ros2_derain.") or isinstance(error, OSError)


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="ros2-derain",
        usage="ros2-derain COMMAND [options]",
        description="Lets a car see through rain.",
        epilog=f"commands:\n{commands}\n\n'ros2-derain COMMAND --help' explains one, with examples.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of the commands below")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    return parser


class _Version(argparse.Action):
    """Determines the version only when it is requested."""

    def __call__(self, parser, *_) -> None:
        print(f"ros2-derain {version()}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
