"""The demo's report page."""

from __future__ import annotations

from datetime import datetime, timezone

from ros2_derain.demo.measure import CLEAN, DETECTIONS, Measured
from ros2_derain.nodes import overlay
from ros2_derain.reporting.charts import Axis, Series
from ros2_derain.reporting.page import Curve, Report, Section, Strip, Strips, Table, Tile
from ros2_derain.ros_testing.accounting import causes
from ros2_derain.ros_testing.pipeline_processes import Run

STAGES = {
    "gate": "Rain gate",
    "derain": "Derain",
    "parse": "Parse the scene",
    "derain_node": "derain_node, arrival to publication",
    "segmentation_node": "segmentation_node, hand-over to publication",
    "camera_to_recorder": "Transport alone: camera to recorder",
    "end_to_end_image": "Camera to clean image at the subscriber",
    "end_to_end_detections": "Camera to detections at the subscriber",
}
"""Keys of the summary's latencies, in the order of a frame's way, in words."""

NONE = "–"


def build(summary: dict, measured: Measured, run: Run) -> Report:
    """The page about one run."""
    sections: list[Section] = [
        _strips(measured, run),
        *_rain_curve(summary, measured, run),
        _latency_curve(measured, run),
        _latency_table(summary),
        _quality_curve(measured, run),
        _frames_table(summary),
        _topics_table(summary, measured),
        _environment_table(summary),
    ]
    clip = summary["clip"]
    return Report(
        title="Through the rain",
        subtitle=(
            f"{summary['rain_rate_true']:g} mm/h of rain on the clip “{clip['title']}” "
            f"({clip['width']}×{clip['height']}), sent by a camera process over DDS "
            f"at {clip['played_at_fps']:g} frames per second. {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
        ),
        passed=not summary["problems"],
        verdict=verdict(summary),
        problems=summary["problems"],
        tiles=_tiles(summary),
        sections=sections,
    )


def verdict(summary: dict) -> str:
    """The run in a sentence."""
    dropped = sum(summary["dropped"].values())
    lost = "none dropped" if not dropped else f"{dropped} dropped ({causes(summary['dropped'])})"
    whole = summary["latency_ms"]["end_to_end_detections"] or summary["latency_ms"]["end_to_end_image"]
    parts = [f"{summary['frames_out']} of {summary['frames_in']} frames came out, {lost}"]
    if summary["psnr_clean"] is not None and summary["psnr_rain"] is not None:
        parts.append(
            f"PSNR {summary['psnr_rain']:.1f} → {summary['psnr_clean']:.1f} dB "
            f"({summary['psnr_clean'] - summary['psnr_rain']:+.1f})"
        )
    if whole:
        parts.append(f"camera to detections {whole['p50']:.0f} ms (p50), {whole['p95']:.0f} ms (p95)")
    return "; ".join(parts) + "."


def _tiles(summary: dict) -> list[Tile]:
    whole = summary["latency_ms"]["end_to_end_detections"]
    clean, rainy = summary["psnr_clean"], summary["psnr_rain"]
    processes = "one process" if summary["composed"] else "two processes"
    gain = NONE if clean is None or rainy is None else f"{clean - rainy:+.1f} dB"
    return [
        Tile(
            "Frames out",
            f"{summary['frames_out']} / {summary['frames_in']}",
            f"dropped: {causes(summary['dropped'])}",
        ),
        Tile("PSNR gain", gain, f"{_db(rainy)} → {_db(clean)}"),
        Tile(
            "Camera to detections",
            f"{whole['p50']:.0f} ms" if whole else NONE,
            f"p95 {whole['p95']:.0f} ms, max {whole['max']:.0f} ms" if whole else "no detections came",
        ),
        Tile(
            "Rain rate",
            f"{_number(summary['rain_rate_mean'])} mm/h",
            f"true {summary['rain_rate_true']:g} mm/h",
        ),
        Tile("Runs on", str(summary["device"]).upper(), f"{summary['precision']}, {processes}"),
    ]


def _strips(measured: Measured, run: Run) -> Strips:
    seen = sorted(set().union(*(moment.classes for moment in measured.moments.values())) - {255})
    names = measured.class_names
    start = min(run.sent, default=0)
    strips = []
    for stamp, moment in sorted(measured.moments.items()):
        if moment.rainy is None or moment.clean is None:
            continue
        scene = moment.overlay if moment.overlay is not None else moment.clean
        caption = f"Frame {run.sent[stamp]}, {(stamp - start) / 1e9:.1f} s"
        if stamp in measured.psnr and stamp in measured.psnr_rain:
            caption += f" · PSNR {measured.psnr_rain[stamp]:.1f} → {measured.psnr[stamp]:.1f} dB"
        strips.append(Strip(caption, (moment.rainy, moment.clean, scene)))
    return Strips(
        title="What the camera saw, and what came out",
        text="As recorded from image, derain/image and segmentation/overlay.",
        columns=("Rainy input", "Clean output", "Classes and detections"),
        strips=strips,
        legend=[(names[i], overlay.colour(names[i])) for i in seen if i < len(names)],
    )


def _rain_curve(summary: dict, measured: Measured, run: Run) -> list[Curve]:
    """The rate has no header: it belongs to the clean image that was published with it."""
    stamps = sorted(measured.stamps[CLEAN])
    if len(stamps) != len(measured.rain_rates) or not stamps:
        return []
    times = _seconds(stamps, run)
    true = summary["rain_rate_true"]
    return [
        Curve(
            title="Rain rate",
            text="derain/rain_rate of every frame, against the rate that was rendered.",
            x_axis=Axis("time", "s"),
            y_axis=Axis("rain rate", "mm/h"),
            series=(
                Series("estimated", times, measured.rain_rates),
                Series("true", (times[0], times[-1]), (true, true), reference=True),
            ),
        )
    ]


def _latency_curve(measured: Measured, run: Run) -> Curve:
    series = [
        Series(name, _seconds(measured.stamps[topic], run), measured.delays_ms[topic])
        for name, topic in (("detections", DETECTIONS), ("clean image", CLEAN))
        if measured.stamps[topic]
    ]
    return Curve(
        title="Latency of every frame",
        text="From the camera's stamp, taken just before the image is sent, to reception in another process.",
        x_axis=Axis("time", "s"),
        y_axis=Axis("latency", "ms"),
        series=series,
    )


def _quality_curve(measured: Measured, run: Run) -> Curve:
    series = [
        Series(name, _seconds(values, run), list(values.values()))
        for name, values in (("clean output", measured.psnr), ("rainy input", measured.psnr_rain))
        if values
    ]
    return Curve(
        title="Image quality of every frame",
        text="PSNR over all pixels and channels against the dry clip; higher is better.",
        x_axis=Axis("time", "s"),
        y_axis=Axis("PSNR", "dB"),
        series=series,
    )


def _latency_table(summary: dict) -> Table:
    rows = []
    for key, name in STAGES.items():
        found = summary["latency_ms"].get(key)
        rows.append([name, *(f"{found[p]:.1f}" if found else NONE for p in ("p50", "p95", "p99", "max"))])
    return Table(
        title="Latency percentiles",
        text="Milliseconds. The nodes say the first rows in /diagnostics; the recorder saw the last.",
        columns=("stage", "p50", "p95", "p99", "max"),
        rows=rows,
    )


def _frames_table(summary: dict) -> Table:
    parsed = summary["segmentation"]
    return Table(
        title="Where the frames went",
        text="In each row, frames in = frames out + dropped.",
        columns=("node", "frames in", "frames out", "dropped", "causes"),
        rows=[
            [
                node,
                str(b["frames_in"]),
                str(b["frames_out"]),
                str(sum(b["dropped"].values())),
                causes(b["dropped"]),
            ]
            for node, b in (("derain_node", summary), ("segmentation_node", parsed))
        ],
    )


def _topics_table(summary: dict, measured: Measured) -> Table:
    return Table(
        title="Topics",
        text="Messages in the bag.",
        columns=("topic", "type", "messages"),
        rows=[[topic, measured.types[topic], str(count)] for topic, count in summary["topics"].items()],
    )


def _environment_table(summary: dict) -> Table:
    machine, versions = summary["machine"], summary["versions"]
    rows = [
        ["model", f"{summary['model']} (sha256 {str(summary['model_sha256'])[:16]}…)"],
        ["device", f"{summary['device']}, {summary['precision']}"],
        ["processor", f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB"],
        ["GPU", machine["gpu"] or "none"],
        ["system", machine["system"]],
        [
            "clip",
            f"{summary['clip']['source']}, taken at {summary['clip']['taken_at_fps']:g} frames per second",
        ],
        *([name, version] for name, version in versions.items()),
    ]
    return Table(title="Environment", text="", columns=("what", "value"), rows=rows)


def _seconds(stamps, run: Run) -> list[float]:
    start = min(run.sent, default=0)
    return [(stamp - start) / 1e9 for stamp in stamps]


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.0f}"


def _db(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f} dB"
