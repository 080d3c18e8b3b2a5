"""``ros2-derain replay --bags``: every bag, what failed, what was done before, the figures of all."""

import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import replaying
from made_bags import STORE, drive, stamp_ns, write_bag
from replaying import replay_fleet, summary
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from ros2_derain.replay import fleet


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
    assert [row["bag"] for row in found["bags"]] == ["broken.db3", "alone.mcap", "car_7/tuesday", "monday"]
    assert found["failed"] == 1 and "broken.db3 cannot be read" in found["bags"][0]["failed"]
    assert found["frames"]["in"] == 6 and found["bands"][0]["frames"] == 6
    parts = [summary(out / name)["injected"]["100"] for name in ("alone.mcap", "car_7/tuesday", "monday")]
    expected = sum(part["rain"]["psnr_db"] * part["frames"] for part in parts) / 6
    assert found["injected"]["100"]["rain"]["psnr_db"] == pytest.approx(expected)
    assert "PROBLEM: broken.db3: " in capsys.readouterr().out
    page = (out / "report.html").read_text()
    assert 'href="car_7/tuesday/report.html"' in page and 'href="broken' not in page
    assert found["model"] == "rainy" and "3 of 4 bags replayed" in page


def test_only_unfinished_bags_are_replayed_again(drives, rainy_model, tmp_path):
    out = tmp_path / "out"
    (drives / "broken.db3").unlink()
    assert replay_fleet(drives, out, rainy_model) == 0
    assert "Passed" not in (out / "report.html").read_text()  # nothing was required
    (out / "monday" / "summary.json").unlink()
    before = (out / "alone.mcap" / "summary.json").stat().st_mtime_ns
    required = tmp_path / "criteria.yaml"
    required.write_text("short: frames.in < 3\n")
    assert replay_fleet(drives, out, rainy_model, "--criteria", required) == 1
    assert (out / "alone.mcap" / "summary.json").stat().st_mtime_ns == before
    assert (out / "monday" / "summary.json").is_file()
    rows = {row["bag"]: row for row in summary(out)["bags"]}
    assert rows["car_7/tuesday"]["why"] == ["short: frames.in is 3, expected frames.in < 3"]
    assert rows["alone.mcap"]["passed"] and rows["monday"]["passed"]


def test_bags_are_replayed_again_with_other_settings(drives, rainy_model, tmp_path):
    for name in ("broken.db3", "alone.mcap"):
        (drives / name).unlink()
    assert replay_fleet(drives, tmp_path / "out", rainy_model) == 0
    assert replay_fleet(drives, tmp_path / "out", rainy_model, "--frames", 1) == 0
    assert summary(tmp_path / "out")["frames"]["in"] == 2


def test_names_are_kept_whole(rainy_model, tmp_path, capsys):
    folder, out = tmp_path / "drives", tmp_path / "out"
    folder.mkdir()
    for count, name in enumerate(("drive_v1.0", "drive_v1.1", "drive_v1", "spare"), 1):
        write_bag(folder / name, drive(count))
    (folder / "spare" / "spare.mcap").rename(folder / "drive_v1.mcap")  # beside drive_v1/
    shutil.rmtree(folder / "spare")
    assert replay_fleet(folder, out, rainy_model) == 0
    frames = {row["bag"]: row["frames"] for row in summary(out)["bags"]}
    assert frames == {"drive_v1": 3, "drive_v1.0": 1, "drive_v1.1": 2, "drive_v1.mcap": 4}
    assert all(summary(out / name)["frames"]["in"] == count for name, count in frames.items())
    (folder / "drive_v1").rename(folder / "summary.json")
    assert replay_fleet(folder, tmp_path / "other", rainy_model) == 2
    assert "summary.json: the fleet's own results have this name" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("change", ["time", "beginning"])
def test_a_bag_that_was_replaced_is_replayed_again(rainy_model, tmp_path, change):
    (tmp_path / "drives").mkdir()
    bag = Writer(tmp_path / "drives" / "monday", version=9, storage_plugin=StoragePlugin.SQLITE3)
    bag.set_compression(CompressionMode.FILE, CompressionFormat.ZSTD)
    with bag:
        connection = bag.add_connection("/image", "sensor_msgs/msg/Image", typestore=STORE)
        for _, image in drive(2):
            bag.write(connection, stamp_ns(image), STORE.serialize_cdr(image, image.__msgtype__))
    (storage,) = bag.path.glob("*.zstd")
    out, before = tmp_path / "out", storage.stat()
    assert replay_fleet(tmp_path / "drives", out, rainy_model) == 0
    first = summary(out / "monday")
    assert first["bag"]["bytes"] == before.st_size > 0 and first["frames"]["read"] == 2
    assert replay_fleet(tmp_path / "drives", out, rainy_model) == 0
    assert summary(out / "monday") == first
    if change == "time":
        os.utime(storage, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
        assert replay_fleet(tmp_path / "drives", out, rainy_model) == 0
        assert summary(out / "monday") != first
    else:
        storage.write_bytes(b"none" + storage.read_bytes()[4:])
        os.utime(storage, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert replay_fleet(tmp_path / "drives", out, rainy_model) == 1
        assert summary(out)["bags"][0]["failed"]


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
    run = fleet.run_in_worker

    def dying_once(task, folder, required):
        died = tmp_path / "died"
        if task.bag.name == "monday" and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return run(task, folder, required)

    monkeypatch.setattr(fleet, "run_in_worker", dying_once)
    assert replay_fleet(drives, tmp_path / "ray", rainy_model, "--engine", "ray", "--workers", 2) == 1
    for name in ("alone.mcap", "car_7/tuesday", "monday"):
        first, second = ((tmp_path / way / name / "frames.jsonl").read_bytes() for way in ("serial", "ray"))
        assert first == second
    assert (tmp_path / "died").exists()
    assert summary(tmp_path / "ray")["bags"][0]["bag"] == "broken.db3"


@pytest.mark.slow
def test_several_processes_give_the_same_as_one_even_where_one_dies(
    drives, rainy_model, tmp_path, monkeypatch
):
    assert replay_fleet(drives, tmp_path / "one", rainy_model) == 1
    monkeypatch.setenv(replaying.DIED, str(tmp_path / "died"))
    monkeypatch.setattr(fleet, "run_in_worker", replaying.run_but_die_once)
    assert replay_fleet(drives, tmp_path / "two", rainy_model, "--jobs", 2) == 1
    for name in ("alone.mcap", "car_7/tuesday", "monday"):
        first, second = ((tmp_path / way / name / "frames.jsonl").read_bytes() for way in ("one", "two"))
        assert first == second
    assert (tmp_path / "died").exists()
    rows = summary(tmp_path / "two")["bags"]
    assert [row["bag"] for row in rows if row["failed"]] == ["broken.db3"]


@pytest.mark.slow
def test_a_bag_whose_process_always_dies_is_a_line(drives, rainy_model, tmp_path, monkeypatch):
    monkeypatch.setattr(fleet, "RETRIES", 1)
    monkeypatch.setattr(fleet, "run_in_worker", replaying.die)
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
    assert rows["alone.mcap"]["frames"] == rows["car_7/tuesday"]["frames"] == 1
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
