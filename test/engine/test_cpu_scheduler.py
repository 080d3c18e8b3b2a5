"""Cameras that share networks on a CPU: a seat for each frame, first come, first served."""

import threading
import time
from collections import Counter

import pytest
import torch
from limits import HANG_S
from threads import in_threads

from ros2_derain.engine import CpuScheduler, cpu_scheduler


@pytest.mark.parametrize(
    ("cameras", "cores", "count", "threads"),
    [(3, 2, 2, 1), (2, 2, 2, 1), (3, 1, 1, 1), (3, 16, 3, 5), (2, 3, 2, 1)],
)
def test_cores_are_shared_out_to_the_cameras(cameras, cores, count, threads):
    made = CpuScheduler(cameras, cores)
    assert (made.count, made.threads) == (count, threads)


def test_each_frame_is_computed_on_its_share_of_the_cores():
    usual, shared = torch.get_num_threads(), CpuScheduler(2, 2)

    def drive(camera):
        with shared.frame():
            return torch.get_num_threads()

    assert in_threads(2, drive) == [1, 1]
    assert torch.get_num_threads() == usual, "nobody else's threads are fewer"


def test_as_many_frames_as_seats_are_worked_on_at_a_time():
    shared, lock, now, most = CpuScheduler(4, 2), threading.Lock(), [0], [0]

    def drive(camera):
        for _ in range(5):
            with shared.frame():
                with lock:
                    now[0] += 1
                    most[0] = max(most[0], now[0])
                time.sleep(0.01)
                with lock:
                    now[0] -= 1

    in_threads(4, drive)
    assert most == [2]


def test_cameras_that_always_wait_get_equal_shares():
    shared, done = CpuScheduler(3, 2), Counter()

    def drive(camera):
        while max(done.values(), default=0) < 40:
            with shared.frame():
                time.sleep(0.005)
                done[camera] += 1

    in_threads(3, drive)
    assert min(done.values()) >= 0.8 * max(done.values())


def test_a_frame_that_hangs_keeps_no_other_from_a_seat_for_good(monkeypatch):
    monkeypatch.setattr(cpu_scheduler, "STUCK_S", 0.05)
    shared, others_are_done = CpuScheduler(2, 1), threading.Event()

    def drive(camera):
        if camera == 0:
            with shared.frame():
                return others_are_done.wait(HANG_S)
        for _ in range(3):
            with shared.frame():
                pass
        others_are_done.set()
        return True

    assert in_threads(2, drive) == [True, True]
    with shared.frame():
        pass
    assert shared._free == shared.count, "every seat was given back once"
