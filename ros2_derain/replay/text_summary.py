"""A replay in words: its verdict, and what the terminal is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ros2_derain.replay.injected_rain import WAYS
from ros2_derain.reporting import tables
from ros2_derain.ros_testing.accounting import causes


def verdict(summary: Mapping) -> str:
    """The run in a sentence."""
    frames, total = summary["frames"], summary["latency_ms"].get("total")
    parts = [f"{frames['read']} of {frames['in']} frames processed"]
    if frames["unread"]:
        parts[0] += f", {frames['unread']} could not be read ({causes(frames['unread_by_cause'])})"
    if summary["live"]:
        dropped = {node: causes(book["dropped"]) for node, book in summary["live"]["nodes"].items()}
        parts[0] += "; dropped: " + ", ".join(f"{node} {said}" for node, said in dropped.items())
    if summary["rain"]["raining"] is not None:
        rate = tables.number(summary["rain"]["mean_mm_h"])
        parts.append(f"rain gate open on {summary['rain']['raining']:.0%}, {rate} mm/h")
    parts += _truth(summary["truth"] or {})
    for rate, found in summary["injected"].items():
        if found["rain"]["miou"] is not None and found["derained"]["miou"] is not None:
            parts.append(
                f"at {rate} mm/h labels agree to {found['rain']['miou']:.0%} in the rain, "
                f"{found['derained']['miou']:.0%} derained"
            )
    if total:
        parts.append(f"{total['p95']:.0f} ms per frame (p95)")
    return "; ".join(parts) + "."


def _truth(found: Mapping) -> list[str]:
    """How right labels and boxes are, where that is known."""
    told = []
    for name, figure, meant in (("labels", "miou", "mIoU"), ("boxes", "ap50", "AP50")):
        before, after = (found[name][way][figure] if name in found else None for way in ("input", "output"))
        if None not in (before, after):
            told.append(f"{name} right to {before:.0%} on the input, {after:.0%} after ({meant})")
    return told


def injected_rows(injected: Mapping[str, Mapping]) -> list[dict]:
    """Two rows for each injected rate: in the rain, and derained with its recovery."""
    rows = []
    for found in injected.values():
        for way in WAYS:
            kept = {key: found[way][key] for key in ("psnr_db", "ssim", "miou", "ap50")}
            rows.append({"rate_mm_h": found["rate_mm_h"], "input": way, **kept})
        rows[-1] |= {f"recovery_{key}": value for key, value in found["recovery"].items()}
    return rows


def told(summary: Mapping, files: Sequence[str]) -> str:
    """What the terminal is told at the end."""
    lines = [*(f"NOTE: {note}" for note in summary["notes"]), *(f"PROBLEM: {p}" for p in summary["problems"])]
    for judged in summary["criteria"]:
        mark = {True: "met   ", False: "FAILED", None: "-     "}[judged["met"]]
        lines.append(
            f"{mark}  {judged['name']}: {judged['require']}" + (judged["why"] and f"  ({judged['why']})")
        )
    if summary["injected"]:
        lines += ["", tables.table(injected_rows(summary["injected"])), ""]
    return "\n".join([*lines, verdict(summary), *files])
