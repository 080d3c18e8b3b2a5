"""Many bags: one after another, or spread over a Ray cluster; then one report of them all.

A bag that is finished is not done again. What fails on a bag is a line about that bag.
"""

from __future__ import annotations

import importlib
import json
import logging
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ros2_derain import models
from ros2_derain.bags.reader import STORAGES, is_bag
from ros2_derain.errors import EvaluationError
from ros2_derain.replay import criteria, fleet_worker
from ros2_derain.replay.aggregate import BandTally, Tally
from ros2_derain.replay.criteria import Criterion
from ros2_derain.replay.injected_rain import WAYS, recovery
from ros2_derain.replay.job import Job
from ros2_derain.replay.offline import replay
from ros2_derain.replay.output_folder import FRAMES, SUMMARY, TIMINGS
from ros2_derain.reporting.progress import Progress

ENGINES = ("serial", "ray")
COMMON = ("model", "model_sha256", "settings")
"""What the figures of a bag depend on is the same for all bags of a fleet."""
ANSWER_S = 10.0
"""A cluster that takes so long to answer is none."""
RETRIES = 3
"""How often a bag is tried again whose worker was lost."""


@dataclass(frozen=True)
class Cluster:
    """Where bags are replayed.

    Attributes:
        engine: ``serial`` or ``ray``.
        address: of a running Ray cluster; None: one on this machine.
        workers: bags at once; None: as many as there are CPUs, or as the GPUs take.
        per_gpu: bags at once on one GPU.
    """

    engine: str = "serial"
    address: str | None = None
    workers: int | None = None
    per_gpu: int = 1


def find_bags(folder: Path) -> dict[str, Path]:
    """The bags below a folder by their names: folders that are bags, and storage files that stand alone.

    Raises:
        EvaluationError: there are none.
    """
    found = dict(_bags(folder, folder))
    if not found:
        raise EvaluationError(
            f"{folder} holds no bags: neither folders of them nor {' or '.join(STORAGES)} files"
        )
    return found


def _bags(folder: Path, root: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and is_bag(path) or path.suffix in STORAGES:
            yield path.relative_to(root).with_suffix("").as_posix(), path
        elif path.is_dir():
            yield from _bags(path, root)


def replay_all(
    bags: Mapping[str, Path], job: Job, out: Path, demands: Sequence[Criterion], cluster: Cluster
) -> dict[str, str]:
    """Replay each bag into a folder of its name.

    Args:
        bags: by name.
        job: what is to be done with each; its ``bag`` is not looked at.
        out: folder of the folders.
        demands: that each bag is held against.
        cluster: where.

    Returns:
        for each bag why it could not be replayed; '' where it was.
    """
    sha256 = models.read_card(models.find(job.settings.model)).sha256
    tasks = {}
    for name, path in bags.items():
        task = replace(job, bag=path.resolve())
        if not finished(out / name, task, sha256):
            tasks[name] = task
    failed = dict.fromkeys(bags, "")
    run = {"serial": _serial, "ray": _ray}[cluster.engine]
    with Progress(f"bags ({len(bags) - len(tasks)} finished before)", len(tasks)) as progress:
        for name, reason in run(tasks, out.resolve(), demands, cluster):
            failed[name] = reason
            progress.step()
    return failed


def finished(folder: Path, job: Job, model_sha256: str) -> bool:
    """Whether a folder holds the results of this job, of this model."""
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return (
        summary.get("model_sha256") == model_sha256
        and summary.get("settings") == job.asked()
        and summary.get("bag", {}).get("bytes") == job.bytes()
    )


def attempt(job: Job, folder: Path, demands: Sequence[Criterion]) -> str:
    """Replay one bag, whatever an earlier attempt left; why it could not be done, or ''."""
    try:
        replay(job, folder, demands, force=(folder / FRAMES).exists(), quiet=True)
    except Exception as error:  # one bag never ends the others
        return f"{type(error).__name__}: {error}" if not isinstance(error, EvaluationError) else str(error)
    return ""


def _serial(
    tasks: Mapping[str, Job], out: Path, demands: Sequence[Criterion], cluster: Cluster
) -> Iterator[tuple[str, str]]:
    for name, task in tasks.items():
        yield name, attempt(task, out / name, demands)


def _ray(
    tasks: Mapping[str, Job], out: Path, demands: Sequence[Criterion], cluster: Cluster
) -> Iterator[tuple[str, str]]:
    """A Ray task for each bag; one whose worker is lost is tried again."""
    try:
        ray = importlib.import_module("ray")
    except ModuleNotFoundError as error:
        raise EvaluationError(
            "--engine ray needs Ray: pip install 'ros2_derain[fleet]', or --engine serial"
        ) from error
    if not tasks:
        return
    _require_reachable(cluster.address or "")
    cpus = None if cluster.address else cluster.workers
    ray.init(
        address=cluster.address,
        num_cpus=cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        yield from _spread(ray, tasks, out, demands, cluster.per_gpu)
    finally:
        ray.shutdown()


def _require_reachable(address: str) -> None:
    """Refuse a cluster that does not answer: Ray itself tries for minutes.

    Args:
        address: ``HOST:PORT`` or ``ray://HOST:PORT``; any other is left to Ray.

    Raises:
        EvaluationError: nothing listens there.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdigit()):
        return
    try:
        socket.create_connection((host, int(port)), ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise EvaluationError(
            f"--address {address}: no Ray cluster answers there ({error}); start one with 'ray start --head'"
        ) from error


def gpus_of_a_bag(device: str, resources: Mapping[str, float], per_gpu: int) -> float:
    """The share of a GPU that a bag takes: none on the CPU, and where the cluster has no GPU."""
    return 1 / per_gpu if device != "cpu" and resources.get("GPU", 0) >= 1 else 0


def _spread(
    ray, tasks: Mapping[str, Job], out: Path, demands: Sequence[Criterion], per_gpu: int
) -> Iterator[tuple[str, str]]:
    device = next(iter(tasks.values())).settings.device
    gpus = gpus_of_a_bag(device, ray.cluster_resources(), per_gpu)
    remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(fleet_worker.attempt)
    waiting = {remote.remote(task, out / name, demands): name for name, task in tasks.items()}
    while waiting:
        (done,), _ = ray.wait(list(waiting), num_returns=1)
        name = waiting.pop(done)
        try:
            yield name, ray.get(done)
        except ray.exceptions.RayError as error:
            yield name, f"its worker was lost {RETRIES + 1} times: {str(error).splitlines()[0]}"


def merge(
    bags: Mapping[str, Path], failed: Mapping[str, str], out: Path, demands: Sequence[Criterion]
) -> dict:
    """The figures of all bags together, from their folders: what ``summary.json`` of a fleet holds."""
    tally, bands = Tally(), BandTally()
    rows, injected, head = [], {}, dict.fromkeys(COMMON)
    for name in bags:
        if failed[name]:
            rows.append({"bag": name, "failed": failed[name]})
            continue
        summary = json.loads((out / name / SUMMARY).read_text(encoding="utf-8"))
        for record, spent in _frames(out / name):
            tally.add(record, spent)
            bands.add(record, spent)
        rows.append(_row(name, summary, criteria.judge(demands, summary)))
        head = {key: summary[key] for key in COMMON}
        for rate, found in summary["injected"].items():
            injected.setdefault(rate, []).append(found)
    rows.sort(key=lambda row: (row["failed"] == "", row.get("passed") is not False, row["bag"]))
    return {
        "by": "ros2-derain replay --bags",
        **head,
        "bags": rows,
        "failed": sum(bool(row["failed"]) for row in rows),
        "below_criteria": sum(row.get("passed") is False for row in rows),
        **tally.figures(),
        "bands": bands.rows(),
        "injected": {rate: _together(found) for rate, found in injected.items()},
    }


def _row(name: str, summary: Mapping, judged: Sequence[Mapping]) -> dict:
    """A bag in short; the criteria are those of now, whenever the bag was replayed."""
    why = [*summary["problems"], *criteria.failures(judged)]
    total = summary["latency_ms"].get("total")
    return {
        "bag": name,
        "failed": "",
        "passed": False if why else True if judged else None,
        "why": why,
        "seconds": summary["bag"]["seconds"],
        "frames": summary["frames"]["in"],
        "unread": summary["frames"]["unread"],
        "warned": summary["frames"]["warned"],
        "raining": summary["rain"]["raining"],
        "mean_mm_h": summary["rain"]["mean_mm_h"],
        "latency_p95_ms": total["p95"] if total else None,
        "took_s": summary["seconds"],
        "device": summary["device"],
        "commit": summary["commit"],
    }


def _frames(folder: Path) -> Iterator[tuple[dict, dict | None]]:
    """Every frame's record, with its timing where it was processed."""
    with (
        (folder / FRAMES).open(encoding="utf-8") as frames,
        (folder / TIMINGS).open(encoding="utf-8") as timings,
    ):
        for line in frames:
            record = json.loads(line)
            processed = not {"unread", "dropped"} & record.keys()
            yield record, json.loads(next(timings))["milliseconds"] if processed else None


def _together(found: Sequence[Mapping]) -> dict:
    """Means over the bags, weighted by their frames."""
    frames = sum(bag["frames"] for bag in found)
    merged: dict = {"rate_mm_h": found[0]["rate_mm_h"], "frames": frames}
    for way in WAYS:
        merged[way] = {
            key: _weighted([(bag[way][key], bag["frames"]) for bag in found])
            for key in ("psnr_db", "ssim", "miou", "ap50")
        }
    merged["recovery"] = {
        key: recovery(merged["rain"][key], merged["derained"][key]) for key in ("miou", "ap50")
    }
    return merged


def _weighted(values: Sequence[tuple[float | None, int]]) -> float | None:
    known = [(value, weight) for value, weight in values if value is not None and weight]
    return sum(v * w for v, w in known) / sum(w for _, w in known) if known else None
