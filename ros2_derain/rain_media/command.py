"""``ros2-derain rain``: rain and wet glass on an image, a folder of images, a video or a bag."""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from ros2_derain.bags import STORAGES, is_bag
from ros2_derain.data.clips import CODECS, FPS, MAX_FPS, Clip, Video
from ros2_derain.data.images import SUFFIXES, left_out_note, write_image
from ros2_derain.rain import BLENDINGS, Glass, Rain, RainError, preset
from ros2_derain.rain_media.glass_options import add_glass_options, asks_for_glass, glasses
from ros2_derain.rain_media.rendering import (
    GLASS_TABLE,
    GlassMasks,
    ImageFile,
    ImageFolder,
    RainMediaError,
    RainOverlay,
    VideoFile,
    comparison_grid,
)
from ros2_derain.reporting.files import staged
from ros2_derain.reporting.progress import Progress

CARD = "rain.json"
STRIP_QUALITY = 85
FORMAT = 1
FILES = (ImageFile, VideoFile)
"""Sources that are one file, and make one file."""

RAIN_OPTIONS = (
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
  ros2-derain rain drive.mp4 wet.mp4 --glass 0.08 --focus 6 --wiper 0.8 --masks wet_masks/
  ros2-derain rain samples/highway out/wet --rate 50 --glass auto --wiper 1.5 --film 0.2
  ros2-derain rain street.png out/glass --glass-preset dome,heavy_windscreen --strip out/glass.jpg

With several rates, presets or values OUT becomes a folder with one output each, named by
them. Options of the glass alone bring no streaks: add --rate or --preset. Masks are PNG
(255 = hidden by water), with the coverage and loss of contrast of each in glass.csv.
rain.json (for a file: <its stem>.rain.json beside it) holds every parameter and the
seed; --like makes the same rain again. In a bag the rain's time is the header's stamp,
each camera has streaks of its own, and everything but the images is copied. Images of a
folder that cannot be read are left out and named at the end."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Put rain, and water on the glass before the camera, onto an image, a folder of consecutive images, "
        "a video or a rosbag2 bag."
    )
    parser.epilog = EXAMPLES
    parser.add_argument("input", type=Path, metavar="IN", help="image, folder of images, .mp4/.avi, or bag")
    parser.add_argument("output", type=Path, metavar="OUT", help="the output, of the same kind as IN")
    parser.add_argument(
        "--rate", type=_numbers, help="mm/h, 0..250; several with commas (default: 50, with glass 0)"
    )
    parser.add_argument("--preset", help="rain100l, rain100h, ubcn, xu-DIRECTION-RADIUS; several with commas")
    parser.add_argument("--like", type=Path, metavar="JSON", help="the rain of an earlier output's rain.json")
    parser.add_argument("--seed", type=int, help="of the drops (default: 0)")
    parser.add_argument(
        "--start",
        type=_numbers,
        metavar="S",
        help="the rain's time at the first image; several with commas (default: 0)",
    )
    parser.add_argument("--fps", type=float, help="of a folder (default: its clip.yaml's, else 25) or video")
    parser.add_argument("--topics", nargs="+", default=[], help="of a bag: rain on these image topics only")
    parser.add_argument("--strip", type=Path, metavar="FILE", help="image of all outputs side by side")
    parser.add_argument("--mask", action="store_true", help="write the streaks too, as grey images")
    parser.add_argument(
        "--masks",
        type=Path,
        metavar="DIR",
        help="write what the glass hides, one PNG per image",
    )
    parser.add_argument("--force", action="store_true", help="replace an output of an earlier call")
    _add_rain_options(parser.add_argument_group("how it rains (defaults: the preset's)"))
    add_glass_options(parser)


def _add_rain_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--wind", type=float, metavar="M/S", help="across the image, positive to the right")
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
    group.add_argument("--blending", choices=BLENDINGS, help="how streaks and image are blended")


def main(args: argparse.Namespace) -> int:
    """Make the output; returns the exit status."""
    if args.fps is not None and not 0 < args.fps < MAX_FPS:
        raise RainMediaError(f"--fps {args.fps:g} must be > 0 and < {MAX_FPS:g}")
    if args.seed is not None and args.seed < 0:
        raise RainMediaError(f"--seed {args.seed} must be >= 0")
    overlays = _overlays(args)
    source = _source(args)
    _check_output(args, source, several=len(overlays) > 1)
    with staged(args.output, args.force, CARD) as stage:
        made = _made(source, overlays, stage / args.output.name, args)
        _write_card(stage, args, overlays, made)
    if args.strip:
        with staged(args.strip, args.force, CARD) as stage:
            write_image(stage / args.strip.name, comparison_grid(source.first(), overlays), STRIP_QUALITY)
    print(_summary(args, overlays, made))
    return 0


def _overlays(args: argparse.Namespace) -> list[RainOverlay]:
    """The requested rains: each preset at each rate."""
    changes = {name: getattr(args, name) for name in RAIN_OPTIONS if getattr(args, name) is not None}
    if args.like:
        given = (args.rate, args.preset, args.seed is not None, args.start, asks_for_glass(args))
        if changes or any(given):
            raise RainMediaError("--like repeats a rain exactly: leave out the other options of the rain")
        return _read_card(args.like)
    names = args.preset.split(",") if args.preset else [""]
    starts = args.start or (0.0,)
    found = []
    for name in names:
        rain = replace(preset(name) if name else Rain(), **changes)
        glass_only = asks_for_glass(args) and not name and not changes
        for rate in args.rate or [0.0 if glass_only else rain.rate]:
            parts = [name] * bool(name) + [f"{rate:g}"] * bool(not name or args.rate and len(args.rate) > 1)
            for (label, glass), start in itertools.product(glasses(args, rate), starts):
                shown = [] if glass_only and not args.rate else list(parts)
                shown += [label] * bool(label) + [f"start{start:g}"] * (len(starts) > 1)
                seed, this = args.seed or 0, replace(rain, rate=rate)
                found.append(RainOverlay("_".join(shown), this, seed, glass, start))
    labels = [overlay.label for overlay in found]
    if repeated := {label for label in labels if labels.count(label) > 1}:
        raise RainMediaError(f"requested twice: {', '.join(sorted(repeated))}")
    return found


def _source(args: argparse.Namespace):
    """The input: image, folder, video or bag."""
    path = args.input
    suffix = path.suffix.lower()
    if not path.exists():
        raise RainMediaError(f"{path} does not exist")
    if is_bag(path):
        return _bag(path, tuple(args.topics))
    if args.topics:
        raise RainMediaError(f"--topics goes with a bag, which {path} is not: leave it out")
    if path.is_dir():
        return ImageFolder(Clip.open(path, fps=args.fps, default_fps=FPS), args.mask)
    if suffix in CODECS:
        return VideoFile(Video.open(path, args.fps))
    if suffix in SUFFIXES:
        return ImageFile(path, args.mask)
    known = ", ".join((*SUFFIXES, *CODECS, *STORAGES))
    raise RainMediaError(f"{path} is neither a folder nor a file that ends in one of {known}")


def _bag(path: Path, topics: tuple[str, ...]):
    """Opened by a module that is imported for bags only: images and videos need no ROS."""
    try:
        module = importlib.import_module("ros2_derain.rain_media.bag")
    except ModuleNotFoundError as error:
        raise RainMediaError(
            f"a bag needs {error.name}: install rosbags and ROS 2's sensor_msgs, or pass a folder of images"
        ) from error
    return module.Bag.open(path, topics)


def _check_output(args: argparse.Namespace, source, several: bool) -> None:
    """Refuse an output of another kind than the input, or one that would replace the input."""
    out = args.output
    for path in filter(None, (out, args.strip, args.masks)):
        if path.resolve() == args.input.resolve():
            raise RainMediaError(f"{path} is the input: name another output")
        if path.resolve() in args.input.resolve().parents:
            raise RainMediaError(f"{path} holds the input {args.input}: name another output")
    if args.masks and (
        args.masks.resolve() == out.resolve() or out.resolve() in args.masks.resolve().parents
    ):
        raise RainMediaError(f"--masks {args.masks} lies in the output {out}: name a folder beside it")
    suffixes = {ImageFile: SUFFIXES, VideoFile: tuple(CODECS)}.get(type(source), ())
    if suffixes and not several and out.suffix.lower() not in suffixes:
        raise RainMediaError(f"{out} must end in one of {', '.join(suffixes)}, as {args.input} is a file")
    if args.mask and not isinstance(source, (ImageFile, ImageFolder)):
        raise RainMediaError("--mask writes images: the input must be an image or a folder of images")
    if args.strip and args.strip.exists() and not args.force:
        raise RainMediaError(f"--strip {args.strip} exists: name another file, or replace it with --force")
    if args.strip and args.strip.suffix.lower() not in SUFFIXES:
        raise RainMediaError(f"--strip {args.strip} must end in one of {', '.join(SUFFIXES)}")


def _made(source, overlays: list[RainOverlay], target: Path, args: argparse.Namespace) -> list[dict]:
    """The output at ``target``, and the masks where they are asked for."""
    if not args.masks:
        return _make(source, overlays, target, args, None)
    with staged(args.masks, args.force, GLASS_TABLE if len(overlays) == 1 else CARD) as stage:
        folder = stage / args.masks.name
        made = _make(source, overlays, target, args, folder)
        if len(overlays) > 1:
            (folder / CARD).write_text(json.dumps({"masks_of": str(args.output)}) + "\n", encoding="utf-8")
    return made


def _make(
    source, overlays: list[RainOverlay], target: Path, args: argparse.Namespace, mask_folder: Path | None
) -> list[dict]:
    """The output at ``target``, or one output per rain in that folder."""
    if len(overlays) > 1:
        target.mkdir()
    made = []
    with Progress("rain", len(source) * len(overlays)) as progress:
        for overlay in overlays:
            place = target
            if len(overlays) > 1:
                place = target / overlay.label
                if isinstance(source, FILES):
                    place.mkdir()
                    place /= args.input.name
            masks = None
            if mask_folder:
                masks = GlassMasks(mask_folder / overlay.label if len(overlays) > 1 else mask_folder)
            made.append(source.rain(overlay, place, progress.step, masks))
            if masks:
                masks.close()
    return made


def _write_card(stage: Path, args: argparse.Namespace, overlays: list[RainOverlay], made: list[dict]) -> None:
    target = stage / args.output.name
    card = target / CARD if target.is_dir() else target.with_name(f"{target.stem}.{CARD}")
    outputs = [
        {
            "label": overlay.label,
            "seed": overlay.seed,
            "start_s": overlay.start_s,
            "rain": asdict(overlay.rain),
        }
        | ({"glass": asdict(overlay.glass)} if overlay.glass else {})
        | facts
        for overlay, facts in zip(overlays, made, strict=True)
    ]
    content = {"format": FORMAT, "by": "ros2-derain rain", "input": args.input.name, "outputs": outputs}
    card.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _read_card(path: Path) -> list[RainOverlay]:
    """The rains of a ``rain.json``.

    Raises:
        RainMediaError: it is not one.
    """
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        if card["format"] != FORMAT:
            raise ValueError(f"format {card['format']}, this version reads {FORMAT}")
        return [
            RainOverlay(
                _label(output["label"]),
                _rain(output["rain"]),
                int(output["seed"]),
                Glass(**output["glass"]) if "glass" in output else None,
                float(output.get("start_s", 0.0)),
            )
            for output in card["outputs"]
        ]
    except (ValueError, KeyError, TypeError, RainError) as error:
        raise RainMediaError(f"{path} is not a {CARD} of this command: {error}") from error


def _summary(args: argparse.Namespace, overlays: list[RainOverlay], made: list[dict]) -> str:
    lines = [f"{args.output}: {', '.join(overlay.caption for overlay in overlays)}"]
    lines += [f"  {missing}" for missing in made[0].get("missing", ())]
    for topic, unread in made[0].get("copied_unread", {}).items():
        lines.append(f"  {topic}: {unread['images']} copied without rain: {unread['first_reason']}")
    if left_out := made[0].get("left_out"):
        lines.append(left_out_note(left_out, made[0]["images"] + len(left_out)))
    if args.masks:
        lines.append(f"{args.masks}: masks of what the glass hides, and {GLASS_TABLE}")
    if args.strip:
        lines.append(f"{args.strip}: side by side")
    return "\n".join(lines)


def _label(text: str) -> str:
    if not text or Path(text).name != text:
        raise ValueError(f"label {text!r} is not the name of a folder")
    return text


def _rain(described: dict) -> Rain:
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in described.items()}
    return Rain(**values)


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
