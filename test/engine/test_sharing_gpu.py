"""Cameras that share networks: the same scenes as alone, batches where frames wait together, fairness."""

import threading
import time
from collections import Counter

import numpy as np
import pytest
import torch
from limits import HANG_S
from threads import in_threads

from ros2_derain.engine import Engine, EngineSettings, Frame, LoadedModel
from ros2_derain.engine.sharing import STUCK_S, BatchedNetwork, CpuScheduler, GpuBatcher


class Doubler(torch.nn.Module):
    """Doubles its input, notes the sizes of its batches, and fails on what is negative."""

    def __init__(self, seconds=0.0):
        super().__init__()
        self.batches, self.seconds = [], seconds

    def forward(self, x):
        self.batches.append(len(x))
        time.sleep(self.seconds)
        if (x < 0).any():
            raise RuntimeError("negative")
        return x * 2


def camera_frames(camera, count=3):
    rng = np.random.default_rng(camera)
    return [
        Frame(
            10**9 * (1 + i // 10) + 66 * 10**6 * i,
            f"camera_{camera}",
            rng.integers(0, 256, (64, 96, 3), np.uint8),
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("runtime", ["torch", "openvino", "onnxruntime"])
@pytest.mark.parametrize("way", [GpuBatcher, CpuScheduler])
@pytest.mark.parametrize("prior", ["temporal", "closed_loop"])
def test_each_camera_gets_the_scenes_that_it_would_get_alone(rainy_model, prior, way, runtime):
    if runtime != "torch":
        pytest.importorskip(runtime)
    settings = EngineSettings(
        model=rainy_model, prior=prior, iterations=2, precision="float32", device="cpu", runtime=runtime
    )
    model, turns = LoadedModel.load(settings), way(3)
    shared = model.shared(turns)

    def drive(camera):
        engine = Engine.of(shared, settings)
        scenes = []
        for frame in camera_frames(camera):
            with turns.frame():
                scenes.append(engine.process(frame))
        return scenes

    for camera, together in enumerate(in_threads(3, drive)):
        engine = Engine.of(model, settings)
        for frame, scene in zip(camera_frames(camera), together, strict=True):
            alone = engine.process(frame)
            assert (scene.stamp_ns, scene.frame_id) == (frame.stamp_ns, f"camera_{camera}")
            assert (scene.mode, scene.fault) == (alone.mode, "")
            assert np.abs(scene.image.astype(int) - alone.image).max() <= 1
            assert (scene.perception.labels == alone.perception.labels).mean() > 0.999


def test_on_a_cpu_frames_are_no_batch(rainy_model):
    model = LoadedModel.load(EngineSettings(model=rainy_model, device="cpu"))
    assert isinstance(model.sharing(2), CpuScheduler)


def test_frames_that_wait_together_are_one_batch():
    network, batcher = Doubler(), GpuBatcher(3, gather_s=10, straggler_s=10)
    shared = BatchedNetwork(network, batcher)

    def drive(camera):
        with batcher.frame():
            return shared(torch.full((1, 2), float(camera)))

    assert [float(out[0, 0]) for out in in_threads(3, drive)] == [0.0, 2.0, 4.0]
    assert network.batches == [3]


def test_frames_of_different_sizes_are_computed_apart():
    network, batcher = Doubler(), GpuBatcher(3, gather_s=10, straggler_s=10)
    shared = BatchedNetwork(network, batcher)

    def drive(camera):
        with batcher.frame():
            return shared(torch.ones(1, 1 + camera // 2))

    assert [out.shape[1] for out in in_threads(3, drive)] == [1, 1, 2]
    assert sorted(network.batches) == [1, 2]


def test_a_frame_that_fails_fails_alone():
    network, batcher = Doubler(), GpuBatcher(3, gather_s=10, straggler_s=10)
    shared = BatchedNetwork(network, batcher)

    def drive(camera):
        with batcher.frame():
            try:
                return float(shared(torch.tensor([[-1.0 if camera == 1 else 1.0]])))
            except RuntimeError as error:
                return str(error)

    assert in_threads(3, drive) == [2.0, "negative", 2.0]


def test_a_camera_that_stops_early_does_not_block_the_others():
    network, batcher = Doubler(), GpuBatcher(3, gather_s=10, straggler_s=10)
    shared = BatchedNetwork(network, batcher)

    def drive(camera):
        with batcher.frame():
            if camera == 0:
                return None
            return float(shared(torch.ones(1, 1)))

    assert in_threads(3, drive) == [None, 2.0, 2.0]


def test_cameras_that_always_wait_get_equal_shares_in_full_batches():
    network, batcher = Doubler(seconds=0.01), GpuBatcher(3, gather_s=0.2, straggler_s=1)
    shared, done = BatchedNetwork(network, batcher), Counter()

    def drive(camera):
        while max(done.values(), default=0) < 30:
            with batcher.frame():
                shared(torch.ones(1, 1))
                done[camera] += 1

    in_threads(3, drive)
    assert min(done.values()) >= 0.8 * max(done.values())
    assert np.mean(network.batches) > 2


def test_a_slow_camera_does_not_slow_down_a_fast_one():
    batcher, network, enough = GpuBatcher(2), Doubler(), threading.Event()
    shared, began = BatchedNetwork(network, batcher), time.monotonic()

    def drive(camera):
        for _ in range(2 if camera else 20):
            with batcher.frame():
                shared(torch.ones(1, 1))
            if camera:
                assert enough.wait(HANG_S)
        enough.set()

    in_threads(2, drive)
    assert time.monotonic() - began < 20 * STUCK_S / 2, "batcher waited for the slow one"
