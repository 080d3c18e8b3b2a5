"""The report of a replay: verdict and criteria, the worst frames, curves, tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ros2_derain.nodes import overlay
from ros2_derain.replay import charts
from ros2_derain.replay.criteria import failures
from ros2_derain.replay.ground_truth_report import truth_tables
from ros2_derain.replay.injected_rain import WAYS
from ros2_derain.replay.text_summary import injected_rows, verdict
from ros2_derain.replay.worst_frames import Shown
from ros2_derain.reporting import tables
from ros2_derain.reporting.charts import Axis, Series
from ros2_derain.reporting.page import Comparisons, Curve, Pair, Report, Section, Table, Tile
from ros2_derain.reporting.tables import NONE, number, percent, rounded
from ros2_derain.ros_testing.accounting import causes


def build(summary: Mapping, points: Sequence[Mapping], worst: Sequence[Shown]) -> Report:
    """The page about one run."""
    bag = summary["bag"]
    sections: list[Section] = [
        *_criteria(summary["criteria"]),
        *injected_sections(summary["injected"]),
        *_worst(worst, points, summary),
        *charts.agreement(points, summary["injected"]),
        *_per_classes(summary["injected"]),
        *truth_tables(summary["truth"] or {}),
        *charts.curves(points),
        *_live(summary["live"]),
        bands_table(summary["bands"]),
        *_modes(summary["modes"]),
        _cameras(bag["cameras"]),
        *_odd(summary),
        _run(summary),
    ]
    return Report(
        title=f"Replay of {bag['name']}",
        subtitle=(
            f"{len(bag['cameras'])} camera{'s' * (len(bag['cameras']) != 1)}, {bag['seconds']:.1f} s, "
            f"through {summary['model']} ({summary['device']} {summary['precision']}). "
            f"{summary['date'][:16].replace('T', ' ')} UTC, commit {summary['commit']}"
        ),
        passed=summary["passed"],
        verdict=verdict(summary),
        problems=[*summary["problems"], *failures(summary["criteria"])],
        tiles=_tiles(summary),
        sections=sections,
    )


def _tiles(summary: Mapping) -> list[Tile]:
    frames, total, rain = summary["frames"], summary["latency_ms"].get("total"), summary["rain"]
    tiles = [
        Tile("Frames", f"{frames['read']} / {frames['in']}", f"{frames['unread']} could not be read"),
        Tile(
            "Rain",
            rounded(rain["raining"]),
            f"of the frames; mean {number(rain['mean_mm_h'])}, worst {number(rain['max_mm_h'])} mm/h",
        ),
        Tile(
            "Latency",
            f"{total['p95']:.0f} ms" if total else NONE,
            f"p95; median {total['p50']:.0f}, worst {total['max']:.0f} ms" if total else "",
        ),
        Tile("Warnings", str(frames["warned"]), "frames below the configured mode, or with a fault"),
    ]
    injected = summary["injected"]
    if injected:
        back = " · ".join(percent(found["recovery"]["miou"], 0) for found in injected.values()) + " %"
        tiles.append(Tile("Labels given back", back, f"of what {' · '.join(injected)} mm/h of rain took"))
    return tiles


def _criteria(judged: Sequence[Mapping]) -> list[Table]:
    if not judged:
        return []
    marks = {True: "✓ met", False: "✗ failed", None: "– not asked"}
    rows = [[j["name"], marks[j["met"]], j["require"], j["why"]] for j in judged]
    return [Table("Criteria", "", ("criterion", "verdict", "demanded", "why"), rows)]


def injected_sections(found: Mapping) -> list[Section]:
    """What each injected rate costs, by its name; nothing where none was injected."""
    if not found:
        return []
    headings, cells = tables.cells(injected_rows(found))
    text = (
        "The same drive with rain rendered onto it, held against its own dry run: labels (mIoU) and boxes "
        "(AP50) that agree with it, pictures that come close to it. In the row “rain” the parser sees the "
        "rain; in “derained” the loop has restored the picture. “Back” is the share of what the rain took "
        "that deraining gives back."
    )
    table = Table("What the rain costs, and what comes back", text, headings, cells)
    return [table, _over_the_rate(found)] if len(found) > 1 else [table]


def _over_the_rate(found: Mapping) -> Curve:
    rates = [rain["rate_mm_h"] for rain in sorted(found.values(), key=lambda rain: rain["rate_mm_h"])]
    series = []
    for way in WAYS:
        values = [found[f"{rate:g}"][way]["miou"] for rate in rates]
        shares = [math.nan if value is None else 100 * value for value in values]
        series.append(Series(way, (0, *rates), (100, *shares), reference=way == "rain"))
    text = "At 0 mm/h stands the dry run itself."
    return Curve("Agreement over the rain rate", text, Axis("rain rate", "mm/h"), Axis("mIoU", "%"), series)


def _per_classes(found: Mapping) -> list[Table]:
    titles = (("Labels of each class", "iou"), ("Boxes of each class", "ap50_per_class"))
    return [_per_class(title, key, found) for title, key in titles] if found else []


def _per_class(title: str, key: str, found: Mapping) -> Table:
    names = list(next(iter(found.values()))["rain"][key])
    columns = ["class", *(f"{way}, {rate} mm/h" for rate in found for way in WAYS)]
    rows = [
        [name, *(percent(found[rate][way][key][name]) for rate in found for way in WAYS)] for name in names
    ]
    unit = "IoU" if key == "iou" else "AP50"
    return Table(title, f"{unit} in % against the dry run; – where the class does not occur.", columns, rows)


def _worst(worst: Sequence[Shown], points: Sequence[Mapping], summary: Mapping) -> list[Comparisons]:
    if not worst:
        return []
    start = min(point["time_ns"] for point in points)
    pairs = [
        Pair(
            caption=f"{shown.camera}, frame {shown.record['frame']}, "
            f"{(shown.record['received_ns'] - start) / 1e9:.1f} s",
            before=shown.before,
            after=shown.after,
            beside=shown.drawn,
            text=_told(shown.record),
        )
        for shown in worst
    ]
    how = "Least trust in the picture times confidence of the labels."
    if summary["injected"]:
        how = "Least agreement with the dry run after deraining, in the heaviest rain."
    if summary["truth"]:
        how = "Least agreement with the true labels, or boxes where only they are known."
    return [
        Comparisons(
            title="Worst frames first",
            text=f"{how} Drag across a picture to compare.",
            names=("rain" if summary["injected"] else "camera", "clean", "Classes and detections"),
            pairs=pairs,
            legend=[(name, overlay.colour(name)) for name in summary["classes"]],
        )
    ]


def _told(record: Mapping) -> str:
    parts = [f"mode {record['mode']}", f"{number(record['rain_mm_h'])} mm/h"]
    if "injected" in record:
        heaviest = max(record["injected"], key=float)
        agree = (
            f"{rate} mm/h {rounded(found['rain']['miou'])} → {rounded(found['derained']['miou'])}"
            for rate, found in record["injected"].items()
        )
        parts = [f"in {heaviest} mm/h", f"labels that agree (mIoU): {', '.join(agree)}"]
    if record["fault"]:
        parts.append(record["fault"])
    return " · ".join([*parts, *record["notes"]])


def bands_table(bands: Sequence[Mapping]) -> Table:
    """The figures by how hard it rained, from :meth:`BandTally.rows`."""
    rows = [
        [
            row["band"],
            str(row["frames"]),
            number(row["mean_mm_h"]),
            str(row["warned"]),
            percent(row["trust"]),
            percent(row["confidence"]),
            percent(row["flicker"], 2),
            number(row["detections_per_frame"]),
            number(row["latency_p95_ms"]),
        ]
        for row in bands
    ]
    return Table(
        "By rain",
        "Dry: the rain gate was closed. Light below 2.5 mm/h, moderate below 10, heavy below 50.",
        (
            "rain",
            "frames",
            "mm/h",
            "warnings",
            "trust %",
            "confidence %",
            "flicker %",
            "boxes/frame",
            "p95 ms",
        ),  # fmt: skip
        rows,
    )


def _live(live: Mapping | None) -> list[Table]:
    """Where the frames of a live replay went."""
    if not live:
        return []
    rows = [
        [node, str(book["frames_in"]), str(book["frames_out"]), causes(book["dropped"])]
        for node, book in live["nodes"].items()
    ]
    text = f"Played at {live['rate']:g} times the bag's pace. In each row, frames in = frames out + dropped."
    return [Table("Where the frames went", text, ("node", "frames in", "frames out", "dropped"), rows)]


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
    return [Table("What was odd", "", ("what", "frames", "first"), rows)] if rows else []


def _run(summary: Mapping) -> Table:
    asked = ", ".join(
        f"{key} {value}" for key, value in summary["settings"].items() if value not in (None, [], "")
    )
    rows = [
        ["model", f"{summary['model']} (sha256 {summary['model_sha256'][:16]})"],
        ["device", f"{summary['device']}, {summary['precision']}"],
        ["settings", asked],
        ["took", f"{summary['seconds']:.1f} s, {number(summary['frames_per_second'])} frames per second"],
        ["machine", ", ".join(f"{key} {value}" for key, value in summary["machine"].items() if value)],
        *([name, version] for name, version in summary["versions"].items()),
    ]
    return Table("Run", "", ("what", "value"), rows)
