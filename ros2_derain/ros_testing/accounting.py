"""Accounts for every frame that was sent to a node.

Three parties count: the sender, the node (received, published, and dropped by cause) and the
recorder. Frames may also be lost between them, which adds two causes to those of the node:

* ``transport``: sent, never received by the node;
* ``recorder``: published by the node, never received by the recorder.

Every frame is accounted for when ``frames_in == frames_out + sum(dropped.values())``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ros2_derain.ros_testing.observer import Status

TRANSPORT, RECORDER = "transport", "recorder"


@dataclass(frozen=True)
class Accounting:
    """Where the frames went.

    Attributes:
        frames_in: frames sent to the node.
        frames_out: frames of its output that were recorded.
        dropped: frames by cause; causes that never occurred are left out.
        problems: contradictions between the counters, a sentence each; empty when there is none.
    """

    frames_in: int
    frames_out: int
    dropped: dict[str, int]
    problems: tuple[str, ...]


def account(frames_in: int, recorded: Sequence[int], status: Status) -> Accounting:
    """Compare the counters of sender, node and recorder.

    Args:
        frames_in: frames sent to the node.
        recorded: stamps of the node's output as it was recorded, in ns.
        status: the node's latest diagnostics, published after the last frame.
    """
    received, published = int(status.number("frames_received")), int(status.number("frames_published"))
    dropped = {cause: int(frames) for cause, frames in status.numbers("dropped.").items()}
    times = Counter(recorded)
    lost = {TRANSPORT: frames_in - received, **dropped, RECORDER: published - len(recorded)}
    problems = [
        f"more frames were received than sent: {cause} is {lost[cause]}"
        for cause in (TRANSPORT, RECORDER)
        if lost[cause] < 0
    ]
    repeated = [stamp for stamp, count in times.items() if count > 1]
    if repeated:
        problems.append(f"frames published more than once: {len(repeated)}, such as {repeated[0]} ns")
    gap = frames_in - len(times) - sum(lost.values())
    if gap:
        problems.append(
            f"frames {'unaccounted for' if gap > 0 else 'accounted for twice'}: {abs(gap)}; "
            f"{frames_in} sent, {received} received, {published} published, {len(times)} recorded, "
            f"dropped by the node: {format_drops(dropped)}"
        )
    return Accounting(frames_in, len(times), {c: n for c, n in lost.items() if n}, tuple(problems))


def unknown_stamps(topic: str, recorded: Iterable[int], sent: Iterable[int]) -> list[str]:
    """A sentence if a topic has stamps that were never sent; else nothing."""
    unknown = sorted(set(recorded) - set(sent))
    if not unknown:
        return []
    return [f"stamps on {topic} that were never sent: {len(unknown)}, such as {unknown[0]} ns"]


def format_drops(dropped: Mapping[str, int]) -> str:
    """Drops by cause, such as ``replaced 2, transport 1``."""
    return ", ".join(f"{cause} {count}" for cause, count in sorted(dropped.items()) if count) or "none"
