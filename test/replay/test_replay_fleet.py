"""``ros2-derain replay --bags``: every bag, what failed, what was done before, the figures of all."""

import os
import signal
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import replaying
from made_bags import drive, write_bag
from replaying import replay_fleet, summary

from ros2_derain.replay import fleet, job


@pytest.fixture
def drives(tmp_path) -> Path:
    """Bags of two frames and, in a folder below, of three; a file that stands alone; a damaged one."""
    folder = tmp_path / "drives"
    (folder / "car_7").mkdir(parents=True)
    write_bag(folder / "monday", drive(2))
    write_bag(folder / "car_7" / "tuesday", drive(3))
    made = write_bag(tmp_path / "alone", drive(1))
    (made / "alone.mcap").rename(folder / "alone.mcap")
    (folder / "broken.db3").write_bytes(b"")
    return folder


def test_a_fleet_is_the_sum_of_its_bags_and_a_broken_one_is_a_line(drives, rainy_model, tmp_path, capsys):
    out = tmp_path / "out"
    assert replay_fleet(drives, out, rainy_model, "--inject-rain", "100") == 1
    found = summary(out)
    assert [row["bag"] for row in found["bags"]] == ["broken", "alone", "car_7/tuesday", "monday"]
    assert found["failed"] == 1 and "broken.db3 cannot be read" in found["bags"][0]["failed"]
    assert found["frames"]["in"] == 6 and found["bands"][0]["frames"] == 6
    parts = [summary(out / name)["injected"]["100"] for name in ("alone", "car_7/tuesday", "monday")]
    expected = sum(part["rain"]["psnr_db"] * part["frames"] for part in parts) / 6
    assert found["injected"]["100"]["rain"]["psnr_db"] == pytest.approx(expected)
    assert "PROBLEM: broken: " in capsys.readouterr().out
    page = (out / "report.html").read_text()
    assert 'href="car_7/tuesday/report.html"' in page and 'href="broken' not in page
    assert found["model"] == "rainy" and "3 of 4 bags replayed" in page


def test_only_unfinished_bags_are_replayed_again(drives, rainy_model, tmp_path):
    out = tmp_path / "out"
    (drives / "broken.db3").unlink()
    assert replay_fleet(drives, out, rainy_model) == 0
    assert "Passed" not in (out / "report.html").read_text()  # nothing was required
    (out / "monday" / "summary.json").unlink()
    before = (out / "alone" / "summary.json").stat().st_mtime_ns
    required = tmp_path / "criteria.yaml"
    required.write_text("short: frames.in < 3\n")
    assert replay_fleet(drives, out, rainy_model, "--criteria", required) == 1
    assert (out / "alone" / "summary.json").stat().st_mtime_ns == before
    assert (out / "monday" / "summary.json").is_file()
    rows = {row["bag"]: row for row in summary(out)["bags"]}
    assert rows["car_7/tuesday"]["why"] == ["short: frames.in is 3, expected frames.in < 3"]
    assert rows["alone"]["passed"] and rows["monday"]["passed"]


def test_bags_are_replayed_again_with_other_settings(drives, rainy_model, tmp_path):
    for name in ("broken.db3", "alone.mcap"):
        (drives / name).unlink()
    assert replay_fleet(drives, tmp_path / "out", rainy_model) == 0
    assert replay_fleet(drives, tmp_path / "out", rainy_model, "--frames", 1) == 0
    assert summary(tmp_path / "out")["frames"]["in"] == 2


def test_a_folder_without_bags_is_refused(rainy_model, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert replay_fleet(tmp_path / "empty", tmp_path / "out", rainy_model) == 2
    assert "holds no bags" in capsys.readouterr().err


@pytest.mark.slow
def test_ray_gives_the_same_as_one_after_another_even_where_a_worker_dies(
    drives, rainy_model, tmp_path, monkeypatch
):
    pytest.importorskip("ray", reason="needs the optional package ray")
    assert replay_fleet(drives, tmp_path / "serial", rainy_model) == 1
    run = job.run_in_worker

    def dying_once(task, folder, required):
        died = tmp_path / "died"
        if task.bag.name == "monday" and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return run(task, folder, required)

    monkeypatch.setattr(job, "run_in_worker", dying_once)
    assert replay_fleet(drives, tmp_path / "ray", rainy_model, "--engine", "ray", "--workers", 2) == 1
    for name in ("alone", "car_7/tuesday", "monday"):
        first, second = ((tmp_path / way / name / "frames.jsonl").read_bytes() for way in ("serial", "ray"))
        assert first == second
    assert (tmp_path / "died").exists()
    assert summary(tmp_path / "ray")["bags"][0]["bag"] == "broken"


@pytest.mark.slow
def test_several_processes_give_the_same_as_one_even_where_one_dies(
    drives, rainy_model, tmp_path, monkeypatch
):
    assert replay_fleet(drives, tmp_path / "one", rainy_model) == 1
    monkeypatch.setenv(replaying.DIED, str(tmp_path / "died"))
    monkeypatch.setattr(job, "run_in_worker", replaying.run_but_die_once)
    assert replay_fleet(drives, tmp_path / "two", rainy_model, "--jobs", 2) == 1
    for name in ("alone", "car_7/tuesday", "monday"):
        first, second = ((tmp_path / way / name / "frames.jsonl").read_bytes() for way in ("one", "two"))
        assert first == second
    assert (tmp_path / "died").exists()
    rows = summary(tmp_path / "two")["bags"]
    assert [row["bag"] for row in rows if row["failed"]] == ["broken"]


@pytest.mark.slow
def test_a_bag_whose_process_always_dies_is_a_line(drives, rainy_model, tmp_path, monkeypatch):
    monkeypatch.setattr(fleet, "RETRIES", 1)
    monkeypatch.setattr(job, "run_in_worker", replaying.die)
    assert replay_fleet(drives, tmp_path / "out", rainy_model, "--jobs", 2) == 1
    reasons = {row["failed"] for row in summary(tmp_path / "out")["bags"]}
    assert reasons == {"its worker was lost 2 times: it ended without a result"}


class PretendedRay:
    """Ray's calls in one process; the worker of one bag is always lost."""

    class exceptions:
        class RayError(Exception):
            pass

    def __init__(self, lost: str) -> None:
        self.lost, self.options, self.ended = lost, {}, False

    def init(self, **options) -> None:
        self.options |= options

    def cluster_resources(self) -> dict:
        return {"CPU": 2.0}

    def remote(self, **options):
        self.options |= options
        return lambda function: SimpleNamespace(remote=partial(partial, function))

    def wait(self, waiting: list, num_returns: int) -> tuple[list, list]:
        return waiting[:num_returns], waiting[num_returns:]

    def get(self, task: partial):
        if task.args[0].bag.name == self.lost:
            raise self.exceptions.RayError("the worker died\nand more")
        return task()

    def shutdown(self) -> None:
        self.ended = True


def test_a_bag_whose_worker_is_lost_for_good_is_a_line(drives, rainy_model, tmp_path, monkeypatch):
    ray = PretendedRay("monday")
    monkeypatch.setitem(sys.modules, "ray", ray)
    options = ("--engine", "ray", "--workers", 2, "--frames", 1)
    assert replay_fleet(drives, tmp_path / "out", rainy_model, *options) == 1
    rows = {row["bag"]: row for row in summary(tmp_path / "out")["bags"]}
    assert rows["monday"]["failed"] == "its worker was lost 4 times: the worker died"
    assert rows["alone"]["frames"] == rows["car_7/tuesday"]["frames"] == 1
    assert ray.options["max_retries"] == 3 and ray.options["num_cpus"] == 1 and ray.ended


@pytest.mark.parametrize(
    ("device", "resources", "share"),
    [("auto", {"GPU": 2.0}, 0.25), ("cuda:0", {"GPU": 1.0}, 0.25), ("cpu", {"GPU": 2.0}, 0), ("auto", {}, 0)],
)
def test_bags_share_a_gpu_where_there_is_one(device, resources, share):
    assert fleet.gpus_of_a_bag(device, resources, 4) == share


def test_a_cluster_that_does_not_respond_is_an_error(drives, rainy_model, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", PretendedRay(""))
    options = ("--engine", "ray", "--address", "ray://127.0.0.1:1")
    assert replay_fleet(drives, tmp_path / "out", rainy_model, *options) == 2
    assert "--address ray://127.0.0.1:1: no Ray cluster answers there" in capsys.readouterr().err


def test_ray_that_is_not_installed_is_an_error(drives, rainy_model, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert replay_fleet(drives, tmp_path / "out", rainy_model, "--engine", "ray") == 2
    assert "pip install 'ros2_derain[fleet]'" in capsys.readouterr().err
