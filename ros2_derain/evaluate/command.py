"""``ros2-derain evaluate``: scores models on folders of images."""

from __future__ import annotations

import argparse
import importlib

SUBCOMMANDS = {
    "restoration": "rainy images with their clean ones: PSNR, SSIM, FSIM",
    "perception": "a labelled clip in rendered rain: what rain costs and what the loop recovers",
    "real": "real rain without ground truth: NIQE and rain rate before and after, strips to look at",
    "gate": "the rain gate on a dry clip: untouched when dry, open in rendered rain",
    "tracking": "a clip in rendered rain: do objects keep their ids",
    "glass": "water on the glass: what of it is seen, and what restoring wins back",
    "compare": "every model in one table, with the published figures",
}
"""Subcommands, each named as its module, with a line of help."""

EPILOG = """examples:
  ros2-derain evaluate restoration --pairs DATA/rain_pairs/rain100l_dev --json out/rain100l.json
  ros2-derain evaluate perception --images DATA/camvid/val/images --labels DATA/camvid/val/labels
  ros2-derain evaluate real --images DATA/real_rain --out out/real_rain
  ros2-derain evaluate gate --images DATA/sequences/highway_white_right --fps 25
  ros2-derain evaluate tracking --images samples/highway --fps 25
  ros2-derain evaluate glass --images DATA/camvid/val/images --labels DATA/camvid/val/labels --still
  ros2-derain evaluate --all --data DATA

'ros2-derain evaluate SUBCOMMAND --help' explains one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands and their options."""
    parser.description = "Score a model on folders of images, or all models on the same ones."
    parser.epilog = EPILOG
    subparsers = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND", required=True)
    for name, text in SUBCOMMANDS.items():
        module = importlib.import_module(f"{__package__}.{name}")
        subparser = subparsers.add_parser(name, help=text, formatter_class=parser.formatter_class)
        module.add_arguments(subparser)
        subparser.set_defaults(score=module.main)
    parser.add_argument(
        "--all",
        action=_All,
        const=subparsers,
        nargs=argparse.REMAINDER,
        help="every model in one table: the same as compare",
    )


def main(args: argparse.Namespace) -> int:
    """Run the subcommand; returns the exit status."""
    return args.score(args)


class _All(argparse.Action):
    """``--all OPTIONS`` is ``compare OPTIONS``; ``const`` is the action of the subcommands."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        self.const.required = False
        self.const(parser, namespace, ["compare", *values], option_string)
