"""Many bags: in processes of this machine or over a Ray cluster; then one report of them all.

A bag that is finished is not replayed again. What fails on a bag is a line about that bag.
"""

from __future__ import annotations

import importlib
import json
import logging
import multiprocessing
import socket
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote

import torch

from ros2_derain import machine, models
from ros2_derain.bags import STORAGES, is_bag, is_storage
from ros2_derain.replay import ReplayError, criteria, frame_charts, frame_metrics, injected_rain, session
from ros2_derain.replay.aggregate import BY_GLASS, BY_RAIN, Aggregate, BandAggregate
from ros2_derain.replay.criteria import Criterion
from ros2_derain.replay.job import Job
from ros2_derain.replay.output_folder import FRAMES, REPORT, SUMMARY, TIMINGS
from ros2_derain.reporting.page import Report, Section, Table, Tile
from ros2_derain.reporting.progress import Progress
from ros2_derain.reporting.tables import NONE, number, percent, rounded

ENGINES = ("local", "ray")
COMMON = ("model", "model_sha256", "settings")
"""What the figures of a bag depend on is the same for all bags of a fleet."""
CONNECT_S = 10.0
"""Longest wait for a Ray cluster to accept a connection."""
RETRIES = 3
"""How often a bag is tried again whose worker was lost."""


@dataclass(frozen=True)
class Cluster:
    """Where bags are replayed.

    Attributes:
        engine: ``local`` (processes of this machine) or ``ray``.
        jobs: of ``local``: bags at once; 1: in this process.
        address: of ``ray``: a running cluster; None: one on this machine.
        workers: of ``ray`` on this machine: bags at once; None: as many as its CPUs or GPUs take.
        per_gpu: of ``ray``: bags at once on one GPU.
    """

    engine: str = "local"
    jobs: int = 1
    address: str | None = None
    workers: int | None = None
    per_gpu: int = 1


def find_bags(folder: Path) -> dict[str, Path]:
    """The bags below a folder by their names: folders that are bags, and storage files that stand alone.

    Raises:
        ReplayError: there are none, or the results of one would replace those of the fleet.
    """
    found = dict(_bags(folder, folder))
    if taken := sorted(found.keys() & {SUMMARY, REPORT}):
        raise ReplayError(f"{found[taken[0]]}: the fleet's own results have this name: rename the bag")
    if not found:
        raise ReplayError(
            f"{folder} holds no bags: neither folders of them nor {' or '.join(STORAGES)} files"
        )
    return found


def _bags(folder: Path, root: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and is_bag(path) or is_storage(path):
            yield path.relative_to(root).as_posix(), path
        elif path.is_dir():
            yield from _bags(path, root)


def replay_all(
    bags: Mapping[str, Path], template: Job, out: Path, required: Sequence[Criterion], cluster: Cluster
) -> dict[str, str]:
    """Replay each bag into a folder of its name.

    Args:
        bags: by name.
        template: what is to be done with each; its ``bag`` is ignored.
        out: parent of the folders.
        required: criteria of each bag.
        cluster: where they are replayed.

    Returns:
        for each bag why it could not be replayed; '' where it was.
    """
    sha256 = models.read_card(models.find(template.settings.model)).sha256
    tasks = {}
    for name, path in bags.items():
        task = replace(template, bag=path.resolve())
        if not finished(out / name, task, sha256):
            tasks[name] = task
    failed = dict.fromkeys(bags, "")
    run = {"local": _local, "ray": _ray}[cluster.engine]
    with Progress(f"bags ({len(bags) - len(tasks)} finished before)", len(tasks)) as progress:
        for name, reason in run(tasks, out.resolve(), required, cluster):
            failed[name] = reason
            progress.step()
    return failed


def finished(folder: Path, task: Job, model_sha256: str) -> bool:
    """Whether a folder holds the results of this job, of this model."""
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return (
        summary.get("model_sha256") == model_sha256
        and summary.get("settings") == task.figure_settings()
        and summary.get("bag", {}).get("fingerprint") == task.fingerprint()
    )


def attempt(task: Job, folder: Path, required: Sequence[Criterion]) -> str:
    """Replay one bag, whatever an earlier attempt left; why it could not be done, or ''."""
    try:
        session.replay(task, folder, required, force=(folder / FRAMES).exists(), quiet=True)
    except Exception as error:  # one bag never ends the others
        explained = type(error).__module__.startswith("ros2_derain.")
        return str(error) if explained else f"{type(error).__name__}: {error}"
    return ""


def run_in_worker(task: Job, folder: Path, required: Sequence[Criterion], threads: int | None = None) -> str:
    """As :func:`attempt`, in a process of its own.

    Args:
        task, folder, required: as there.
        threads: of one operation of torch; None: as torch has it.
    """
    if threads:
        torch.set_num_threads(threads)
    return attempt(task, folder, required)


def _local(
    tasks: Mapping[str, Job], out: Path, required: Sequence[Criterion], cluster: Cluster
) -> Iterator[tuple[str, str]]:
    """A process for each of several bags at once; one whose process is lost is tried again."""
    if cluster.jobs == 1:
        for name, task in tasks.items():
            yield name, attempt(task, out / name, required)
        return
    threads = max(1, machine.cores() // cluster.jobs)
    left = dict(tasks)
    for _ in range(RETRIES + 1):
        if not left:
            return
        pool = ProcessPoolExecutor(cluster.jobs, mp_context=multiprocessing.get_context("spawn"))
        try:
            waiting: dict[Future, str] = {
                pool.submit(run_in_worker, task, out / name, required, threads): name
                for name, task in left.items()
            }
            for future in as_completed(waiting):
                try:
                    reason = future.result()
                except BrokenProcessPool:  # this bag's process was lost, or another's
                    continue
                del left[waiting[future]]
                yield waiting[future], reason
        finally:
            pool.shutdown(cancel_futures=True)
    for name in left:
        yield name, _lost("it ended without a result")


def _lost(reason: str) -> str:
    return f"its worker was lost {RETRIES + 1} times: {reason}"


def _ray(
    tasks: Mapping[str, Job], out: Path, required: Sequence[Criterion], cluster: Cluster
) -> Iterator[tuple[str, str]]:
    """A Ray task for each bag; one whose worker is lost is tried again."""
    try:
        ray = importlib.import_module("ray")
    except ModuleNotFoundError as error:
        raise ReplayError(
            "--engine ray needs Ray: pip install 'ros2_derain[fleet]', or leave out --engine ray"
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
        yield from _spread(ray, tasks, out, required, cluster.per_gpu)
    finally:
        ray.shutdown()


def _require_reachable(address: str) -> None:
    """Refuse a cluster that does not respond: Ray itself tries for minutes.

    Args:
        address: ``HOST:PORT`` or ``ray://HOST:PORT``; any other is left to Ray.

    Raises:
        ReplayError: nothing listens there.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdigit()):
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ReplayError(
            f"--address {address}: no Ray cluster answers there ({error}); start one with 'ray start --head'"
        ) from error


def gpus_of_a_bag(device: str, resources: Mapping[str, float], per_gpu: int) -> float:
    """The share of a GPU that a bag takes: none on the CPU, and where the cluster has no GPU."""
    return 1 / per_gpu if device != "cpu" and resources.get("GPU", 0) >= 1 else 0


def _spread(
    ray, tasks: Mapping[str, Job], out: Path, required: Sequence[Criterion], per_gpu: int
) -> Iterator[tuple[str, str]]:
    device = next(iter(tasks.values())).settings.device
    gpus = gpus_of_a_bag(device, ray.cluster_resources(), per_gpu)
    remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(run_in_worker)
    waiting = {remote.remote(task, out / name, required): name for name, task in tasks.items()}
    while waiting:
        (done,), _ = ray.wait(list(waiting), num_returns=1)
        name = waiting.pop(done)
        try:
            yield name, ray.get(done)
        except ray.exceptions.RayError as error:
            yield name, _lost(str(error).splitlines()[0])


def merge(
    bags: Mapping[str, Path], failed: Mapping[str, str], out: Path, required: Sequence[Criterion]
) -> dict:
    """The figures of all bags together, from their folders: what ``summary.json`` of a fleet holds."""
    total, bands, coverage_bands = Aggregate(), BandAggregate(BY_RAIN), BandAggregate(BY_GLASS)
    rows: list[dict] = []
    injected: dict[str, list[dict]] = {}
    head: dict = dict.fromkeys(COMMON)
    for name in bags:
        if failed[name]:
            rows.append({"bag": name, "failed": failed[name]})
            continue
        summary = json.loads((out / name / SUMMARY).read_text(encoding="utf-8"))
        for record, milliseconds in _frames(out / name):
            for figures in (total, bands, coverage_bands):
                figures.add(record, milliseconds)
        rows.append(_row(name, summary, criteria.judge(required, summary)))
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
        **total.summary(),
        "bands": bands.rows(),
        "coverage_bands": coverage_bands.rows(),
        "injected": {rate: injected_rain.merged(found) for rate, found in injected.items()},
    }


def _row(name: str, summary: Mapping, judged: Sequence[Mapping]) -> dict:
    """The row of a bag; judged by the criteria of this run, even if the bag was replayed earlier."""
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
        "mean_coverage": summary["glass"]["mean_coverage"],
        "latency_p95_ms": total["p95"] if total else None,
        "took_s": summary["seconds"],
        "device": summary["device"],
        "commit": summary["commit"],
    }


def _frames(folder: Path) -> Iterator[tuple[dict, dict]]:
    """Every frame's record, with the milliseconds of each stage where it was processed."""
    with (
        (folder / FRAMES).open(encoding="utf-8") as frames,
        (folder / TIMINGS).open(encoding="utf-8") as timings,
    ):
        for line in frames:
            record = json.loads(line)
            processed = frame_metrics.is_processed(record)
            yield record, json.loads(next(timings))["milliseconds"] if processed else {}


def verdict(fleet: Mapping) -> str:
    """The fleet in a sentence."""
    bags, frames = fleet["bags"], fleet["frames"]
    parts = [f"{len(bags) - fleet['failed']} of {len(bags)} bags replayed, {frames['in']} frames"]
    if frames["unread"]:
        parts.append(f"{frames['unread']} frames could not be read")
    if fleet["below_criteria"]:
        parts.append(f"{fleet['below_criteria']} bags below the criteria or not whole")
    if fleet["rain"]["raining"] is not None:
        parts.append(f"rain on {rounded(fleet['rain']['raining'])} of the frames")
    return "; ".join(parts) + "."


def passed(fleet: Mapping) -> bool | None:
    """Whether every bag was replayed and met its criteria; None where nothing was required or wrong."""
    if fleet["failed"] or fleet["below_criteria"]:
        return False
    return True if any(row["passed"] for row in fleet["bags"]) else None


def build_report(fleet: Mapping, name: str) -> Report:
    """The page about a fleet."""
    total = fleet["latency_ms"].get("total")
    length = timedelta(seconds=round(sum(row.get("seconds", 0) for row in fleet["bags"])))
    sections: list[Section] = [
        _bags_table(fleet["bags"]),
        *injected_rain.cost_sections(fleet["injected"]),
        frame_charts.rain_table(fleet["bands"]),
        *frame_charts.glass_tables(fleet["coverage_bands"]),
    ]
    return Report(
        title=f"Fleet of {name}",
        subtitle=f"{len(fleet['bags'])} bags through {fleet['model'] or 'no model'}. "
        f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        passed=passed(fleet),
        verdict=verdict(fleet),
        problems=[f"{row['bag']}: {why}" for row in fleet["bags"] for why in _reasons(row)],
        tiles=[
            Tile(
                "Bags", f"{len(fleet['bags']) - fleet['failed']} / {len(fleet['bags'])}", f"{length} h in all"
            ),
            Tile("Frames", str(fleet["frames"]["in"]), f"{fleet['frames']['unread']} could not be read"),
            Tile("Rain", rounded(fleet["rain"]["raining"]), "of the frames"),
            Tile("Latency", f"{total['p95']:.0f} ms" if total else NONE, "p95 over all frames"),
        ],
        sections=sections,
    )


def _reasons(row: Mapping) -> list[str]:
    return [row["failed"]] if row["failed"] else row["why"]


def _bags_table(rows: list[Mapping]) -> Table:
    marks = {True: "✓ passed", False: "✗ failed", None: "–"}
    cells = []
    for row in rows:
        if row["failed"]:
            cells.append([row["bag"], "✗ not replayed", *8 * [NONE]])
            continue
        cells.append(
            [
                row["bag"],
                marks[row["passed"]],
                str(row["frames"]),
                str(row["unread"]),
                str(row["warned"]),
                percent(row["raining"], 0),
                number(row["mean_mm_h"]),
                percent(row["mean_coverage"]),
                number(row["latency_p95_ms"]),
                number(row["took_s"]),
            ]
        )
    columns = (
        "bag",
        "verdict",
        "frames",
        "not read",
        "warnings",
        "raining %",
        "mm/h",
        "glass %",
        "p95 ms",
        "took s",
    )
    links = ["" if row["failed"] else f"{quote(row['bag'])}/{REPORT}" for row in rows]
    return Table(
        "Bags", "Those that need a look first; the name leads to a bag's own report.", columns, cells, links
    )
