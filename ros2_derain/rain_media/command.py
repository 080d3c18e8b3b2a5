"""``ros2-derain rain``: rain on a picture, a folder of pictures, a video or a bag."""

from __future__ import annotations

import argparse
import importlib
import json
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path

from ros2_derain.data import image_files
from ros2_derain.data.clip import PICTURES
from ros2_derain.data.video import CODECS
from ros2_derain.errors import EvaluationError
from ros2_derain.rain import BLENDINGS, Rain, RainError, preset
from ros2_derain.rain_media import media
from ros2_derain.rain_media.shower import Shower
from ros2_derain.rain_media.strip import strip
from ros2_derain.reporting.files import staged
from ros2_derain.reporting.progress import Progress

CARD = "rain.json"
STRIP_QUALITY = 85
FORMAT = 1
BAGS = (".mcap", ".db3", ".bag")
FILES = (media.PictureFile, media.RainyVideo)
"""Sources that are a file, and make a file."""

HANDLES = (
    "wind", "exposure", "visibility", "breadth", "crossing", "veil", "airlight", "camera_height",
    "blending", "directions", "distances",
)  # fmt: skip
"""Attributes of :class:`~ros2_derain.rain.Rain` that have an option of their own name."""

EXAMPLES = """examples:
  ros2-derain rain street.png rainy.png --rate 150
  ros2-derain rain samples/highway out/rainy --rate 25,50,150 --strip out/rates.jpg
  ros2-derain rain drive.mp4 rainy.mp4 --rate 80 --wind -4 --exposure 1/30
  ros2-derain rain last_night/ rainy_night/ --rate 100 --topics /camera/image_raw
  ros2-derain rain photos/ out/styles --preset rain100l,rain100h,xu-2-4 --mask
  ros2-derain rain street.png again.png --like rainy.rain.json

With several rates or presets OUT becomes a folder with one output each, named by them.
rain.json (for a file: <its stem>.rain.json beside it) holds every parameter and the
seed; --like makes the same rain again. In a bag the rain's time is the header's stamp,
each camera sees drops of its own, and everything but the images is copied."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Put rain onto a picture, a folder of consecutive pictures, a video or a rosbag2 bag."
    )
    parser.epilog = EXAMPLES
    parser.add_argument(
        "input", type=Path, metavar="IN", help="picture, folder of pictures, .mp4/.avi, or bag"
    )
    parser.add_argument("output", type=Path, metavar="OUT", help="what to make, of the same kind")
    parser.add_argument("--rate", type=_numbers, help="mm/h, 0..250; several with commas (default: 50)")
    parser.add_argument("--preset", help="rain100l, rain100h, ubcn, xu-DIRECTION-RADIUS; several with commas")
    parser.add_argument("--like", type=Path, metavar="JSON", help="the rain of an earlier output's rain.json")
    parser.add_argument("--seed", type=int, help="of the drops (default: 0)")
    parser.add_argument("--fps", type=float, help="of a folder (default: its clip.yaml's, else 25) or video")
    parser.add_argument("--topics", nargs="+", default=[], help="of a bag: rain on these image topics only")
    parser.add_argument("--strip", type=Path, metavar="FILE", help="picture of all outputs side by side")
    parser.add_argument("--mask", action="store_true", help="write the streaks too, as grey pictures")
    parser.add_argument("--force", action="store_true", help="replace an output of an earlier call")
    _add_handles(parser.add_argument_group("how it rains (defaults: the preset's)"))


def _add_handles(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--wind", type=float, metavar="M/S", help="across the picture, positive to the right")
    group.add_argument("--exposure", type=_fraction, metavar="S", help="shutter time, such as 1/60")
    group.add_argument("--visibility", type=float, help="brightness of the streaks; thin real ones: 0.1")
    group.add_argument("--breadth", type=float, help="factor on the streaks' width")
    group.add_argument("--crossing", type=float, metavar="DEG", help="spread between the layers' directions")
    group.add_argument(
        "--directions", type=_numbers, metavar="DEG,...", help="instead of wind: --directions=-20,9"
    )
    group.add_argument(
        "--distances", type=_numbers, metavar="M,...", help="of the streak layers, nearest first"
    )
    veil = group.add_mutually_exclusive_group()
    veil.add_argument("--veil", type=float, help="factor on the haze")
    veil.add_argument("--no-veil", dest="veil", action="store_const", const=0.0, help="streaks only")
    group.add_argument("--airlight", type=float, help="brightness of the haze, 0..1")
    group.add_argument(
        "--camera-height", type=float, metavar="M", help="above the road: where the haze begins"
    )
    group.add_argument("--blending", choices=BLENDINGS, help="how streaks and picture meet")


def main(args: argparse.Namespace) -> int:
    """Make the output; returns the exit status."""
    if args.fps is not None and not 0 < args.fps < 1000:
        raise EvaluationError(f"--fps {args.fps:g} must be > 0 and < 1000")
    if args.seed is not None and args.seed < 0:
        raise EvaluationError(f"--seed {args.seed} must be >= 0")
    showers = _showers(args)
    source = _source(args)
    _check_output(args, source, several=len(showers) > 1)
    with staged(args.output, args.force, CARD) as stage:
        made = _make(source, showers, stage / args.output.name, args)
        _write_card(stage, args, showers, made)
    if args.strip:
        with staged(args.strip, args.force, CARD) as stage:
            image_files.write(stage / args.strip.name, strip(source.first(), showers), STRIP_QUALITY)
    print(_told(args, showers, made))
    return 0


def _showers(args: argparse.Namespace) -> list[Shower]:
    """The rains that are asked for: each preset at each rate."""
    changes = {name: getattr(args, name) for name in HANDLES if getattr(args, name) is not None}
    if args.like:
        if changes or args.rate or args.preset or args.seed is not None:
            raise EvaluationError(
                "--like repeats a rain as it was: leave out the other options on how it rains"
            )
        return _read_card(args.like)
    names = args.preset.split(",") if args.preset else [""]
    found = []
    for name in names:
        rain = replace(preset(name) if name else Rain(), **changes)
        for rate in args.rate or [rain.rate]:
            parts = [name] * bool(name) + [f"{rate:g}"] * bool(not name or args.rate and len(args.rate) > 1)
            found.append(Shower("_".join(parts), replace(rain, rate=rate), args.seed or 0))
    labels = [shower.label for shower in found]
    if repeated := {label for label in labels if labels.count(label) > 1}:
        raise EvaluationError(f"asked for twice: {', '.join(sorted(repeated))}")
    return found


def _source(args: argparse.Namespace):
    """What there is to rain on: picture, folder, video or bag."""
    path = args.input
    suffix = path.suffix.lower()
    if not path.exists():
        raise EvaluationError(f"{path} does not exist")
    if path.is_dir() and ((path / "metadata.yaml").is_file() or _files(path, BAGS[:2])) or suffix in BAGS:
        return _bag(path, tuple(args.topics))
    if args.topics:
        raise EvaluationError(f"--topics goes with a bag, which {path} is not")
    if path.is_dir():
        return media.RainyFolder.open(path, args.fps, args.mask)
    if suffix in CODECS:
        return media.RainyVideo.open(path, args.fps)
    if suffix in PICTURES:
        return media.PictureFile(path, args.mask)
    known = ", ".join((*PICTURES, *CODECS, *BAGS[:2]))
    raise EvaluationError(f"{path} is neither a folder nor a file that ends in one of {known}")


def _bag(path: Path, topics: tuple[str, ...]):
    """Opened by a module that is imported only for bags: pictures and videos need no ROS."""
    try:
        module = importlib.import_module("ros2_derain.rain_media.bag")
    except ModuleNotFoundError as error:
        raise EvaluationError(
            f"a bag needs {error.name}: install rosbags and ROS 2's sensor_msgs, or give a folder of pictures"
        ) from error
    return module.Bag.open(path, topics)


def _check_output(args: argparse.Namespace, source, several: bool) -> None:
    """Refuse an output of another kind than the input, or on top of it."""
    out = args.output
    for path in filter(None, (out, args.strip)):
        if path.resolve() == args.input.resolve():
            raise EvaluationError(f"{path} is the input: name another output")
        if path.resolve() in args.input.resolve().parents:
            raise EvaluationError(f"{path} holds the input {args.input}: name another output")
    kinds = {media.PictureFile: PICTURES, media.RainyVideo: tuple(CODECS)}
    suffixes = kinds.get(type(source), ())
    if suffixes and not several and out.suffix.lower() not in suffixes:
        raise EvaluationError(f"{out} must end in one of {', '.join(suffixes)}, as {args.input} is a file")
    if args.mask and not isinstance(source, (media.PictureFile, media.RainyFolder)):
        raise EvaluationError("--mask writes pictures: it goes with a picture or a folder of pictures")
    if args.strip and args.strip.exists() and not args.force:
        raise EvaluationError(f"--strip {args.strip} exists: name another file, or replace it with --force")
    if args.strip and args.strip.suffix.lower() not in PICTURES:
        raise EvaluationError(f"--strip {args.strip} must end in one of {', '.join(PICTURES)}")


def _make(source, showers: list[Shower], target: Path, args: argparse.Namespace) -> list[dict]:
    """The output at ``target``, or one output per rain in that folder."""
    if len(showers) > 1:
        target.mkdir()
    made = []
    with Progress("rain", len(source) * len(showers)) as progress:
        for shower in showers:
            place = target
            if len(showers) > 1:
                place = target / shower.label
                if isinstance(source, FILES):
                    place.mkdir()
                    place /= args.input.name
            made.append(source.rain(shower, place, progress.step))
    return made


def _write_card(stage: Path, args: argparse.Namespace, showers: list[Shower], made: list[dict]) -> None:
    target = stage / args.output.name
    card = target / CARD if target.is_dir() else target.with_name(f"{target.stem}.{CARD}")
    outputs = [
        {"label": shower.label, "seed": shower.seed, "rain": asdict(shower.rain), **facts}
        for shower, facts in zip(showers, made, strict=True)
    ]
    told = {"format": FORMAT, "by": "ros2-derain rain", "input": args.input.name, "outputs": outputs}
    card.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _read_card(path: Path) -> list[Shower]:
    """The rains of a ``rain.json``.

    Raises:
        EvaluationError: it is none.
    """
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        if card["format"] != FORMAT:
            raise ValueError(f"format {card['format']}, this version reads {FORMAT}")
        return [Shower(_label(o["label"]), _rain(o["rain"]), int(o["seed"])) for o in card["outputs"]]
    except (ValueError, KeyError, TypeError, RainError) as error:
        raise EvaluationError(f"{path} is not a {CARD} of this command: {error}") from error


def _told(args: argparse.Namespace, showers: list[Shower], made: list[dict]) -> str:
    lines = [f"{args.output}: {', '.join(shower.caption for shower in showers)}"]
    for topic, unread in made[0].get("copied_unread", {}).items():
        lines.append(f"  {topic}: {unread['images']} copied without rain: {unread['first_reason']}")
    if args.strip:
        lines.append(f"{args.strip}: side by side")
    return "\n".join(lines)


def _files(folder: Path, suffixes: tuple[str, ...]) -> bool:
    return any(path.suffix in suffixes for path in folder.iterdir())


def _label(text: str) -> str:
    if not text or Path(text).name != text:
        raise ValueError(f"label {text!r} is no folder's name")
    return text


def _rain(described: dict) -> Rain:
    return Rain(**{name: tuple(v) if isinstance(v, list) else v for name, v in described.items()})


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not numbers with commas, such as 25,50") from None


def _fraction(text: str) -> float:
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number or fraction, such as 1/60") from None
