"""Presentation of a replay: its verdict in a sentence, the text on the terminal, and the report page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ros2_derain.evaluate.scores import MATCH_IOU, SCORE
from ros2_derain.replay import frame_charts, injected_rain
from ros2_derain.replay.criteria import failures
from ros2_derain.replay.frame_charts import FramePoint
from ros2_derain.replay.ground_truth import BOXES, IMAGES, LABELS, SIDES
from ros2_derain.replay.in_metres import SURE
from ros2_derain.replay.job import Job
from ros2_derain.replay.worst_frames import WorstFrame
from ros2_derain.reporting import tables
from ros2_derain.reporting.page import Comparisons, Pair, Report, Section, Strip, Strips, Table, Tile
from ros2_derain.reporting.tables import NONE, number, percent, rounded
from ros2_derain.ros_testing.observer import format_drops


def verdict(summary: Mapping) -> str:
    """The run in a sentence."""
    frames, total = summary["frames"], summary["latency_ms"].get("total")
    parts = [f"{frames['read']} of {frames['in']} frames processed"]
    if frames["unread"]:
        parts[0] += f", {frames['unread']} could not be read ({format_drops(frames['unread_by_cause'])})"
    if summary["live"]:
        dropped = {node: format_drops(counts["dropped"]) for node, counts in summary["live"]["nodes"].items()}
        parts[0] += "; dropped: " + ", ".join(f"{node} {text}" for node, text in dropped.items())
    if summary["rain"]["raining"] is not None:
        rate = number(summary["rain"]["mean_mm_h"])
        parts.append(f"rain gate open on {summary['rain']['raining']:.0%}, {rate} mm/h")
    if summary["glass"]["covered"]:
        parts.append(
            f"water on the glass on {summary['glass']['covered']:.0%}, "
            f"up to {summary['glass']['max_coverage']:.0%} of the view"
        )
    parts += _truth_phrases(summary["truth"] or {})
    for found in summary["injected"].values():
        if found["rain"]["miou"] is not None and found["derained"]["miou"] is not None:
            parts.append(
                f"at {found['title']} labels agree to {found['rain']['miou']:.0%} in the rain, "
                f"{found['derained']['miou']:.0%} derained"
            )
    if total:
        parts.append(f"{total['p95']:.0f} ms per frame (p95)")
    return "; ".join(parts) + "."


def _truth_phrases(truth: Mapping) -> list[str]:
    """Accuracy of labels, boxes and images, where there is ground truth."""
    phrases = []
    for name, figure, meaning in ((LABELS, "miou", "mIoU"), (BOXES, "ap50", "AP50")):
        before, after = (truth[name][side][figure] if name in truth else None for side in SIDES)
        if None not in (before, after):
            phrases.append(f"{name} right to {before:.0%} on the input, {after:.0%} after ({meaning})")
    before, after = (truth[IMAGES][side]["psnr_db"] if IMAGES in truth else None for side in SIDES)
    if before is not None and after is not None:
        phrases.append(f"PSNR {before:.1f} → {after:.1f} dB ({after - before:+.1f})")
    return phrases


def text(summary: Mapping, files: Sequence[str]) -> str:
    """What the terminal shows at the end."""
    lines = [*(f"NOTE: {note}" for note in summary["notes"]), *(f"PROBLEM: {p}" for p in summary["problems"])]
    for judged in summary["criteria"]:
        mark = {True: "met   ", False: "FAILED", None: "-     "}[judged["met"]]
        lines.append(
            f"{mark}  {judged['name']}: {judged['require']}" + (judged["why"] and f"  ({judged['why']})")
        )
    if summary["injected"]:
        lines += ["", tables.table(injected_rain.rows(summary["injected"])), ""]
    return "\n".join([*lines, verdict(summary), *files])


def build(
    summary: Mapping,
    job: Job,
    points: Sequence[FramePoint],
    worst: Sequence[WorstFrame],
    covered: Sequence[WorstFrame],
    above: tuple[np.ndarray, np.ndarray] | None = None,
    beside: Sequence[Section] = (),
) -> Report:
    """The page about one run.

    Args:
        summary: what ``summary.json`` holds.
        job: that was done.
        points: of the curves, one for each frame.
        worst: frames to show, the worst first.
        covered: frames to show, the one that water covers most first.
        above: labels and boxes of a frame over the image, and from above; None: there is no calibration.
        beside: further sections.
    """
    bag = summary["bag"]
    sections: list[Section] = [
        *_criteria(summary["criteria"]),
        *injected_rain.cost_sections(summary["injected"]),
        *_worst(worst, points, summary),
        *_covered(covered, points),
        *_in_metres(summary["planner"], above),
        *beside,
        *injected_rain.agreement_curves(points, summary["injected"]),
        *injected_rain.coverage_curves(points, summary["injected"]),
        *injected_rain.class_tables(summary["injected"]),
        *_truth_tables(summary["truth"] or {}),
        *frame_charts.curves(points, job.known),
        *_live(summary["live"]),
        frame_charts.rain_table(summary["bands"]),
        *frame_charts.glass_tables(summary["coverage_bands"]),
        *_hidden_regions(summary["glass"]["hidden"]),
        *_modes(summary["modes"]),
        _cameras(bag["cameras"]),
        *_odd(summary),
        _run(summary),
    ]
    return Report(
        title=job.title or f"Replay of {bag['name']}",
        subtitle=(
            f"{job.description + '. ' if job.description else ''}"
            f"{len(bag['cameras'])} camera{'s' * (len(bag['cameras']) != 1)}, {bag['seconds']:.1f} s, "
            f"through {summary['model']} ({summary['device']} {summary['precision']} {summary['runtime']}). "
            f"{summary['date'][:16].replace('T', ' ')} UTC, commit {summary['commit']}"
        ),
        passed=summary["passed"],
        verdict=verdict(summary),
        problems=[*summary["problems"], *failures(summary["criteria"])],
        tiles=_tiles(summary, job),
        sections=sections,
    )


def _tiles(summary: Mapping, job: Job) -> list[Tile]:
    frames, total, rain = summary["frames"], summary["latency_ms"].get("total"), summary["rain"]
    unread = f"{frames['unread']} could not be read"
    rate = f"mean {number(rain['mean_mm_h'])}, worst {number(rain['max_mm_h'])} mm/h"
    if "rain_mm_h" in job.known:
        rate += f", true {job.known['rain_mm_h']:g} mm/h"
    tiles = [
        Tile(
            "Frames",
            f"{frames['read']} / {frames['in']}",
            f"{unread}, {frames['dropped']} dropped" if summary["live"] else unread,
        ),
        Tile("Rain", rounded(rain["raining"]), f"of the frames; {rate}"),
        Tile(
            "Latency",
            f"{total['p95']:.0f} ms" if total else NONE,
            f"p95; median {total['p50']:.0f}, worst {total['max']:.0f} ms" if total else "",
        ),
        Tile("Warnings", str(frames["warned"]), "frames below the configured mode, or with a fault"),
    ]
    glass = summary["glass"]
    if glass["mean_coverage"] is not None:
        share = (
            f"mean {percent(glass['mean_coverage'])}, worst {percent(glass['max_coverage'])} % of the view"
        )
        tiles.append(Tile("Water on the glass", rounded(glass["covered"]), f"of the frames; {share}"))
    images = (summary["truth"] or {}).get(IMAGES)
    if images:
        before, after = (images[side]["psnr_db"] for side in SIDES)
        gain = NONE if before is None or after is None else f"{after - before:+.1f} dB"
        tiles.append(Tile("PSNR gain", gain, f"{number(before)} → {number(after)} dB"))
    injected = summary["injected"]
    if injected:
        back = " · ".join(percent(found["recovery"]["miou"], 0) for found in injected.values()) + " %"
        titles = " · ".join(found["title"] for found in injected.values())
        tiles.append(Tile("Labels given back", back, f"of what {titles} took"))
    return tiles


def _criteria(judged: Sequence[Mapping]) -> list[Table]:
    if not judged:
        return []
    marks = {True: "✓ met", False: "✗ failed", None: "– not required"}
    rows = [[j["name"], marks[j["met"]], j["require"], j["why"]] for j in judged]
    return [Table("Criteria", "", ("criterion", "verdict", "required", "why"), rows)]


def _truth_tables(truth: Mapping) -> list[Table]:
    """A table for each kind of truth, from ``GroundTruth.figures``."""
    tables_of = {LABELS: _label_table, BOXES: _box_table, IMAGES: _image_table}
    return [tables_of[name](figures) for name, figures in truth.items()]


def _label_table(found: Mapping) -> Table:
    text = f"IoU in % over {found['frames']} frames with true labels."
    shares = {"all: mIoU": "miou", "all: pixel accuracy": "pixel_accuracy"}
    return _table_by_class("Labels against the truth", text, found, shares, "iou")


def _box_table(found: Mapping) -> Table:
    text = (
        f"AP50 in % over {found['frames']} frames with true boxes, of the boxes that the pipeline publishes; "
        f"precision and recall at an overlap of {MATCH_IOU:g} and a score of {SCORE:g}."
    )
    shares = {
        "all: AP50": "ap50", "all: AP50:95": "ap", "all: precision": "precision", "all: recall": "recall"
    }  # fmt: skip
    return _table_by_class("Boxes against the truth", text, found, shares, "ap50_per_class")


def _table_by_class(
    title: str, text: str, found: Mapping, shares: Mapping[str, str], per_class: str
) -> Table:
    """Shares over all frames, then one of each class; columns for both sides."""
    rows = [[name, *(percent(found[side][key]) for side in SIDES)] for name, key in shares.items()]
    for name in found[SIDES[0]][per_class]:
        rows.append([name, *(percent(found[side][per_class][name]) for side in SIDES)])
    return Table(title, text, ("class", "parser on the input", "pipeline"), rows)


def _image_table(found: Mapping) -> Table:
    rows = [
        [name, *(number(found[side][key], digits) for side in SIDES)]
        for name, key, digits in (("PSNR in dB", "psnr_db", 2), ("SSIM", "ssim", 4))
    ]
    text = f"Means over {found['frames']} frames with reference images."
    return Table("Images against the references", text, ("figure", "input", "clean image"), rows)


def _worst(worst: Sequence[WorstFrame], points: Sequence[FramePoint], summary: Mapping) -> list[Comparisons]:
    if not worst:
        return []
    pairs = _pairs(worst, points, _frame_text)
    how = "Least trust in the image times confidence of the labels."
    if summary["injected"]:
        how = "Least agreement with the dry run after deraining, in the heaviest rain or the last glass."
    if summary["truth"]:
        how = (
            "Least agreement with the true labels, else with the true boxes, else with the reference images."
        )
    return [
        Comparisons(
            title="Worst frames first",
            text=f"{how} Drag across an image to compare.",
            names=("rain" if summary["injected"] else "camera", "clean", "Classes and detections"),
            pairs=pairs,
            legend=list(zip(summary["classes"], summary["colours"], strict=True)),
        )
    ]


def _covered(covered: Sequence[WorstFrame], points: Sequence[FramePoint]) -> list[Comparisons]:
    if not covered:
        return []
    return [
        Comparisons(
            title="Most covered by water",
            text="What the gauge takes for water on the glass, or dirt. Drag across an image to compare.",
            names=("camera", "clean", "What is hidden"),
            pairs=_pairs(covered, points, _covered_text),
        )
    ]


def _pairs(
    frames: Sequence[WorstFrame], points: Sequence[FramePoint], text: Callable[[Mapping], str]
) -> list[Pair]:
    start = min(point.time_ns for point in points)
    return [
        Pair(
            caption=f"{frame.camera}, frame {frame.record['frame']}, "
            f"{(frame.record['received_ns'] - start) / 1e9:.1f} s",
            before=frame.before,
            after=frame.after,
            beside=frame.drawn,
            text=text(frame.record),
        )
        for frame in frames
    ]


def _covered_text(record: Mapping) -> str:
    hidden = sorted(record["hidden"].items(), key=lambda item: -(item[1] or 0))
    where = [f"{name.replace('_', ' ')} {rounded(share)}" for name, share in hidden if share]
    parts = [f"{percent(record['coverage'])} % covered", f"contrast loss {rounded(record['contrast_loss'])}"]
    return " · ".join([*parts, *where[:3]])


def _in_metres(planner: Mapping | None, above: tuple[np.ndarray, np.ndarray] | None) -> list[Strips | Table]:
    """The planner's frame with most sure boxes, and the errors of distances where they are known."""
    if planner is None or above is None:
        return []
    text = (
        f"The frame with most boxes of a score of {SURE:g} and above, by {planner['camera_frame']}"
        f"{', which is assumed' if planner['pose_assumed'] else ''}. A box stands where its lower edge meets "
        "the ground, and its size is that of its class."
    )
    sections: list[Strips | Table] = [
        Strips("In metres, from above", text, ("Labels and boxes", "From above"), [Strip("", above)])
    ]
    rows = [
        [name, str(error["boxes"]), percent(error["median"]), percent(error["p90"])]
        for name, error in planner["distance_error"].items()
    ]
    if rows:
        columns = ("compared with", "boxes", "median %", "90th percentile %")
        sections.append(Table("Errors of distances", "Share of the distance.", columns, rows))
    return sections


def _hidden_regions(hidden: Mapping[str, float | None]) -> list[Table]:
    """Where the camera was blind; nothing where that was not measured."""
    if not any(hidden.values()):
        return []
    rows = [[name.replace("_", " "), percent(share)] for name, share in hidden.items()]
    text = "Share of each region that water or dirt hides: means over the frames."
    return [Table("Hidden regions", text, ("region", "hidden %"), rows)]


def _frame_text(record: Mapping) -> str:
    parts = [f"mode {record['mode']}", f"{number(record['rain_mm_h'])} mm/h"]
    if "injected" in record:
        agree = (
            f"{_injected(name)} {rounded(found['rain']['miou'])} → {rounded(found['derained']['miou'])}"
            for name, found in record["injected"].items()
        )
        parts = [
            f"in {_injected(list(record['injected'])[-1])}",
            f"labels that agree (mIoU): {', '.join(agree)}",
        ]
    if images := record.get("truth", {}).get(IMAGES):
        before, after = (number(images[side]["psnr_db"]) for side in SIDES)
        parts.append(f"PSNR {before} → {after} dB")
    if record["fault"]:
        parts.append(record["fault"])
    return " · ".join([*parts, *record["notes"]])


def _injected(name: str) -> str:
    return name.replace("_", " ") if name.startswith("glass") else f"{name} mm/h"


def _live(live: Mapping | None) -> list[Table]:
    """Where the frames of a live replay went, how long the nodes took, and what was recorded."""
    if not live:
        return []
    frames = [
        [node, str(counts["frames_in"]), str(counts["frames_out"]), format_drops(counts["dropped"])]
        for node, counts in live["nodes"].items()
    ]
    percentiles = ("p50", "p95", "p99", "max")
    latencies = [
        [f"{node}: {stage}", *(number(found.get(name)) for name in percentiles)]
        for node, counts in live["nodes"].items()
        for stage, found in counts["latency_ms"].items()
    ]
    played = f"Played at {live['rate']:g} times the bag's pace. Frames in = frames out + dropped."
    return [
        Table("Where the frames went", played, ("node", "frames in", "frames out", "dropped"), frames),
        Table(
            "Latency by the nodes' own diagnostics",
            "Milliseconds of each stage; total: from the arrival of an image to the publication.",
            ("stage", *percentiles),
            latencies,
        ),
        Table(
            "Topics",
            "Messages in the recorded bag.",
            ("topic", "messages"),
            [[topic, str(count)] for topic, count in live["topics"].items()],
        ),
    ]


def _modes(counted: Mapping[str, int]) -> list[Table]:
    """How the frames were processed."""
    read = sum(counted.values())
    rows = [[mode, str(frames), percent(frames / read)] for mode, frames in counted.items()]
    text = "As configured: loop, or dry where no rain is seen. The others are steps down from it."
    return [Table("By mode", text, ("mode", "frames", "%"), rows)] if rows else []


def _cameras(cameras: Mapping) -> Table:
    rows = [
        [
            topic,
            found["namespace"] or "/",
            str(found["frames"]["read"]) if "frames" in found else "0",
            str(found["frames"]["unread"]) if "frames" in found else "0",
        ]
        for topic, found in cameras.items()
    ]
    return Table("Cameras", "", ("topic", "outputs under", "processed", "not read"), rows)


def _odd(summary: Mapping) -> list[Table]:
    """What was wrong with the bag."""
    frames = summary["frames"]
    rows = [
        [f"not read: {cause}", str(count), frames["unread_first_reason"][cause]]
        for cause, count in frames["unread_by_cause"].items()
    ]
    rows += [[note, str(count), ""] for note, count in frames["odd"].items()]
    if frames["faults"]:
        rows.append(["engine fault", str(frames["faults"]), frames["first_fault"]])
    rows += [["note", "", note] for note in summary["notes"]]
    return [Table("Anomalies", "", ("what", "frames", "first"), rows)] if rows else []


def _run(summary: Mapping) -> Table:
    settings = ", ".join(
        f"{key} {value}" for key, value in summary["settings"].items() if value not in (None, [], "")
    )
    rows = [
        ["model", f"{summary['model']} (sha256 {summary['model_sha256'][:16]})"],
        ["device", f"{summary['device']}, {summary['precision']}, {summary['runtime']}"],
        ["settings", settings],
        ["took", f"{summary['seconds']:.1f} s, {number(summary['frames_per_second'])} frames per second"],
        ["machine", ", ".join(f"{key} {value}" for key, value in summary["machine"].items() if value)],
        *([name, version] for name, version in summary["versions"].items()),
    ]
    return Table("Run", "", ("what", "value"), rows)
