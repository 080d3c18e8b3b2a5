"""``ros2-derain bag``: tells what is in a bag, makes bags of pictures and videos, and videos of bags."""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path

from ros2_derain.bags import making
from ros2_derain.bags.info import describe
from ros2_derain.bags.making import NewCamera
from ros2_derain.bags.reader import METADATA, BagReader
from ros2_derain.data.clip import PictureFolder
from ros2_derain.data.video import CODECS, Video
from ros2_derain.errors import EvaluationError
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
    parser.description = "Look into rosbag2 bags; make them of pictures and videos, and videos of them."
    parser.epilog = EXAMPLES
    subparsers = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND", required=True)
    info = subparsers.add_parser("info", help="topics, numbers, sizes of the pictures, what is damaged")
    info.add_argument("bag", type=Path, nargs="+", metavar="BAG", help="folder, .mcap or .db3")
    info.set_defaults(act=_info)
    images = subparsers.add_parser("from-images", help="a folder of consecutive pictures as a bag")
    images.add_argument("input", type=Path, metavar="FOLDER", help="pictures, in the order of their names")
    images.add_argument("--compressed", action="store_true", help="as CompressedImage, the files' own bytes")
    images.set_defaults(act=_from_images)
    video = subparsers.add_parser("from-video", help="a video as a bag")
    video.add_argument("input", type=Path, metavar="VIDEO", help=".mp4 or .avi")
    video.set_defaults(act=_from_video)
    for subparser in (images, video):
        _add_camera(subparser)
    back = subparsers.add_parser("to-video", help="the images of a topic as a video")
    back.add_argument("bag", type=Path, metavar="BAG", help="folder, .mcap or .db3")
    back.add_argument("output", type=Path, metavar="OUT", help=".mp4 or .avi")
    back.add_argument("--topic", default="", help="which images (default: the clean ones, or the only ones)")
    back.add_argument("--fps", type=float, help="frames per second (default: as stamped)")
    back.add_argument("--force", action="store_true", help="replace an earlier output")
    back.set_defaults(act=_to_video)


def _add_camera(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", type=Path, metavar="OUT", help="folder of the new mcap bag")
    parser.add_argument(
        "--fps", type=float, help="frames per second (default: clip.yaml's or the video's, or 25)"
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
            raise EvaluationError(f"{option} {value:g} must be > 0")
    return args.act(args)


def _info(args: argparse.Namespace) -> int:
    """Tell of every bag; those that cannot be read are named last."""
    unread = []
    for path in args.bag:
        try:
            print(describe(path))
        except EvaluationError as error:
            unread.append(str(error))
    if unread:
        raise EvaluationError("\n".join(unread))
    return 0


def _from_images(args: argparse.Namespace) -> int:
    folder = PictureFolder.open(args.input, args.fps)
    camera = _camera(args, folder.fps)

    def make(target: Path, step) -> int:
        return making.from_files(folder.files, camera, args.compressed, target, step)

    return _make(args, len(folder), make)


def _from_video(args: argparse.Namespace) -> int:
    video = Video.open(args.input, args.fps)
    camera = _camera(args, video.fps)
    return _make(args, len(video), lambda target, step: making.from_video(video, camera, target, step))


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
        raise EvaluationError(f"{args.output} must end in one of {', '.join(CODECS)}")
    with BagReader(args.bag, mend=True) as bag:
        total = max([topic.messages for topic in bag.topics if topic.name == args.topic], default=0)
    with staged(args.output, args.force, "") as stage, Progress("frames into the video", total) as progress:
        said = making.to_video(args.bag, args.topic, args.fps, stage / args.output.name, progress.step)
    print(f"{args.output}: {said}")
    return 0


def _camera(args: argparse.Namespace, fps: float) -> NewCamera:
    if not re.fullmatch(r"(/[A-Za-z_][A-Za-z0-9_]*)+", args.topic):
        raise EvaluationError(f"--topic {args.topic!r} is no name of a topic: give such as /camera/image_raw")
    start_ns = time.time_ns() if args.start is None else round(args.start * 1e9)
    return NewCamera(args.topic, args.frame_id, fps, start_ns, args.focal)
