"""What became of every frame that a camera sent.

Three parties count for themselves: the camera (what it sent), the node (what it
received, published and dropped, by cause) and the recorder (what it got). Frames are
lost between them as well, so the causes are the node's own and two more:

* ``transport``: sent by the camera, never received by the node;
* ``recorder``: published by the node, never received by the recorder.

The books balance when ``frames_in == frames_out + sum(dropped.values())``.
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
        frames_in: sent to the node.
        frames_out: of its output, recorded.
        dropped: by cause; causes that never occurred are left out.
        problems: why the books can't be trusted, a sentence each; empty when all is well.
    """

    frames_in: int
    frames_out: int
    dropped: dict[str, int]
    problems: tuple[str, ...]


def account(
    frames_in: int, recorded: Sequence[int], received: int, published: int, dropped: Mapping[str, int]
) -> Accounting:
    """Balance the books of the camera, the node and the recorder.

    Args:
        frames_in: how many frames were sent to the node.
        recorded: stamps of the node's output as it was recorded, in ns.
        received, published: frames by the node's own count.
        dropped: frames by cause, by the node's own count.
    """
    times = Counter(recorded)
    lost = {TRANSPORT: frames_in - received, **dropped, RECORDER: published - len(recorded)}
    problems = [
        f"more frames came than were sent: {cause} is {lost[cause]}"
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
            f"the node says that it dropped {dict(dropped) or 'none'}"
        )
    return Accounting(frames_in, len(times), {c: n for c, n in lost.items() if n}, tuple(problems))


def balance(frames_in: int, recorded: list[int], status: Status) -> Accounting:
    """What became of the frames that were sent to a node, by its last words and the recording.

    Args:
        frames_in: how many.
        recorded: stamps of its output as it was recorded, in ns.
        status: the node's last words.
    """
    dropped = Counter({cause: int(n) for cause, n in status.numbers("dropped.").items()})
    return account(
        frames_in,
        recorded,
        int(status.number("frames_received")),
        int(status.number("frames_published")),
        dropped,
    )


def strangers(topic: str, recorded: Iterable[int], sent: Iterable[int]) -> list[str]:
    """A sentence when a topic carries stamps that the camera never sent; else nothing."""
    unknown = sorted(set(recorded) - set(sent))
    if not unknown:
        return []
    return [f"stamps on {topic} that the camera never sent: {len(unknown)}, such as {unknown[0]} ns"]


def causes(dropped: Mapping[str, int]) -> str:
    """Drops by cause, as text."""
    return ", ".join(f"{cause} {count}" for cause, count in sorted(dropped.items())) or "none"
