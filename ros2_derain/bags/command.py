"""``ros2-derain bag``: describes bags, and converts images and videos to bags and back."""

from __future__ import annotations

import argparse
import re
import time
from datetime import datetime, timezone
from pathlib import Path

from ros2_derain.bags import METADATA, BagError, conversion
from ros2_derain.bags.conversion import NewCamera
from ros2_derain.bags.messages import BAD_MESSAGE, COMPRESSED, IMAGE, decode_image, reason
from ros2_derain.bags.reader import BagReader, Topic
from ros2_derain.data.clips import CODECS, FPS, Clip, Video
from ros2_derain.data.images import left_out_note
from ros2_derain.image_decoding import inspect
from ros2_derain.reporting.files import staged
from ros2_derain.reporting.progress import Progress

EXAMPLES = """examples:
  ros2-derain bag info last_night/
  ros2-derain bag from-images samples/highway out/highway
  ros2-derain bag from-images photos/ out/photos --compressed --fps 10 --topic /front/image_raw
  ros2-derain bag from-video drive.mp4 out/drive
  ros2-derain bag to-video out/night/output night.mp4

'ros2-derain bag SUBCOMMAND --help' explains one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands and their options."""
    parser.description = "Describe rosbag2 bags; convert images and videos to bags, and bags to videos."
    parser.epilog = EXAMPLES
    subparsers = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND", required=True)
    info = subparsers.add_parser("info", help="topics, message counts, image sizes, damage")
    info.add_argument("bag", type=Path, nargs="+", metavar="BAG", help="folder, .mcap or .db3, also .zstd")
    info.set_defaults(act=_info)
    images = subparsers.add_parser("from-images", help="convert a folder of consecutive images to a bag")
    images.add_argument("input", type=Path, metavar="FOLDER", help="images, in the order of their names")
    images.add_argument(
        "--compressed", action="store_true", help="as CompressedImage, with the files' own bytes"
    )
    images.set_defaults(act=_from_images)
    video = subparsers.add_parser("from-video", help="convert a video to a bag")
    video.add_argument("input", type=Path, metavar="VIDEO", help=".mp4 or .avi")
    video.set_defaults(act=_from_video)
    for subparser in (images, video):
        _add_camera(subparser)
    back = subparsers.add_parser("to-video", help="convert the images of a topic to a video")
    back.add_argument("bag", type=Path, metavar="BAG", help="folder, .mcap or .db3, also .zstd")
    back.add_argument("output", type=Path, metavar="OUT", help=".mp4 or .avi")
    back.add_argument(
        "--topic", default="", help="image topic (default: the clean images, or the only image topic)"
    )
    back.add_argument("--fps", type=float, help="constant frames per second (default: by the stamps)")
    back.add_argument("--force", action="store_true", help="replace an earlier output")
    back.set_defaults(act=_to_video)


def _add_camera(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", type=Path, metavar="OUT", help="folder of the new mcap bag")
    parser.add_argument(
        "--fps",
        type=float,
        help="frames per second (default: clip.yaml's, or 25; of a video its presentation times)",
    )
    parser.add_argument("--topic", default="/camera/image_raw", help="of the images (default: %(default)s)")
    parser.add_argument("--frame-id", default="camera_optical", help="of the headers (default: %(default)s)")
    parser.add_argument("--start", type=float, metavar="S", help="stamp of the first frame (default: now)")
    parser.add_argument("--focal", type=float, metavar="PX", help="focal length (default: 0.9 widths)")
    parser.add_argument("--force", action="store_true", help="replace an earlier output")


def main(args: argparse.Namespace) -> int:
    """Run the subcommand; returns the exit status."""
    for option, value in (("--fps", getattr(args, "fps", None)), ("--focal", getattr(args, "focal", None))):
        if value is not None and not 0 < value < 1e5:
            raise BagError(f"{option} {value:g} must be > 0")
    return args.act(args)


def _info(args: argparse.Namespace) -> int:
    """Describe every bag; those that cannot be read are named last."""
    unread = []
    for path in args.bag:
        try:
            print(_describe(path))
        except BagError as error:
            unread.append(str(error))
    if unread:
        raise BagError("\n".join(unread))
    return 0


def _describe(path: Path) -> str:
    """A bag in lines: its storage, size and topics, and for image topics the first image."""
    with BagReader(path) as bag:
        first, last = bag.span_ns
        seconds = (last - first) / 1e9
        count = sum(topic.messages for topic in bag.topics)
        size = sum(file.stat().st_size for file in bag.files)
        began = datetime.fromtimestamp(first / 1e9, timezone.utc)
        lines = [
            f"{path}: {bag.storage}, {size / 1e6:.1f} MB, {count} messages in {seconds:.1f} s, "
            f"from {began:%Y-%m-%d %H:%M:%S} UTC"
        ]
        width = max((len(topic.name) for topic in bag.topics), default=0)
        for topic in bag.topics:
            rate = f"{(topic.messages - 1) / seconds:6.1f} Hz" if seconds and topic.messages > 1 else 9 * " "
            line = f"  {topic.name:<{width}}  {topic.messages:6}  {rate}  {topic.type}  {_image(bag, topic)}"
            lines.append(line.rstrip())
        return "\n".join([*lines, *(f"PROBLEM: {cut}" for cut in bag.cuts)])


def _image(bag: BagReader, topic: Topic) -> str:
    """Size and encoding of the first image of a topic; '' for other topics."""
    if topic.type not in (IMAGE, COMPRESSED):
        return ""
    for message in bag.messages([topic.name]):
        try:
            image = bag.decode(message)
            height, width = decode_image(image, message.type).shape[:2]
        except BAD_MESSAGE as error:
            return f"not a camera image: {reason(error)}"
        if topic.type == IMAGE:
            return f"{width}x{height} {image.encoding}"
        note = inspect(bytes(image.data), image.format).note
        return f"{width}x{height} {image.format}" + (f" (NOTE: {note})" if note else "")
    return ""


def _from_images(args: argparse.Namespace) -> int:
    folder = Clip.open(args.input, fps=args.fps, default_fps=FPS)
    camera = _camera(args, folder.fps)

    left_out: list[str] = []

    def make(target: Path, step) -> int:
        count, errors = conversion.from_files(folder.files, camera, args.compressed, target, step)
        left_out.extend(errors)
        return count

    status = _make(args, len(folder), make)
    if left_out:
        print(left_out_note(left_out, len(folder)))
    return status


def _from_video(args: argparse.Namespace) -> int:
    video = Video.open(args.input, args.fps)
    camera = _camera(args, video.fps)
    return _make(args, len(video), lambda target, step: conversion.from_video(video, camera, target, step))


def _make(args: argparse.Namespace, total: int, make) -> int:
    with (
        staged(args.output, args.force, METADATA) as stage,
        Progress("frames into the bag", total) as progress,
    ):
        count = make(stage / args.output.name, progress.step)
    print(f"{args.output}: {count} frames on {args.topic}")
    return 0


def _to_video(args: argparse.Namespace) -> int:
    if args.output.suffix.lower() not in CODECS:
        raise BagError(f"{args.output} must end in one of {', '.join(CODECS)}")
    with BagReader(args.bag) as bag:
        total = max([topic.messages for topic in bag.topics if topic.name == args.topic], default=0)
    with staged(args.output, args.force, "") as stage, Progress("frames into the video", total) as progress:
        summary = conversion.to_video(args.bag, args.topic, args.fps, stage / args.output.name, progress.step)
    print(f"{args.output}: {summary}")
    return 0


def _camera(args: argparse.Namespace, fps: float) -> NewCamera:
    if not re.fullmatch(r"(/[A-Za-z_][A-Za-z0-9_]*)+", args.topic):
        raise BagError(f"--topic {args.topic!r} is no topic name: pass one such as /camera/image_raw")
    start_ns = time.time_ns() if args.start is None else round(args.start * 1e9)
    return NewCamera(args.topic, args.frame_id, fps, start_ns, args.focal)
