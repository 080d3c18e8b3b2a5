"""Cameras that share networks on a CPU: a slot for each frame, in arrival order."""

import threading
import time

import pytest
import torch
from limits import HANG_S
from threads import in_threads

from ros2_derain.engine import sharing
from ros2_derain.engine.sharing import CpuScheduler


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
    assert torch.get_num_threads() == usual, "the number of other threads stays"


def test_as_many_frames_as_slots_are_processed_at_a_time():
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


def test_frames_are_served_in_arrival_order():
    shared, served = CpuScheduler(4, 1), []

    def drive(camera):
        with shared.frame():
            served.append(camera)

    threads = [threading.Thread(target=drive, args=(camera,)) for camera in range(4)]
    with shared.frame():
        for waiting, thread in enumerate(threads, start=1):
            thread.start()
            deadline = time.monotonic() + HANG_S
            while len(shared._queue) < waiting:
                assert time.monotonic() < deadline
                time.sleep(0.001)
    for thread in threads:
        thread.join(HANG_S)
    assert served == [0, 1, 2, 3]


def test_a_frame_that_hangs_blocks_no_other_for_good(monkeypatch):
    monkeypatch.setattr(sharing, "STUCK_S", 0.05)
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
    assert shared._free == shared.count, "every slot was released once"
