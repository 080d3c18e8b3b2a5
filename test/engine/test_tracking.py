"""Ids of detections: they last, and end where the engine forgets."""

import numpy as np
import pytest

from ros2_derain.engine import Detection, Engine, EngineSettings, Frame
from ros2_derain.engine.tracking import Tracks

MS = 10**6
CAR = Detection("car", 0.9, 10, 10, 40, 40)


def frame(stamp_ms, frame_id="camera", size=(64, 96)):
    return Frame(stamp_ms * MS, frame_id, np.zeros((*size, 3), np.uint8))


def ids(tracks, *frames):
    return [tracks.identify(each, (CAR,), 1.0)[0].id for each in frames]


def test_ids_last():
    assert ids(Tracks(), *(frame(1000 + 100 * i) for i in range(5))) == ["1"] * 5


@pytest.mark.parametrize(
    "after", [frame(500), frame(5000), frame(1100, "other"), frame(1100, size=(128, 96))],
    ids=["step back", "gap", "other camera", "other size"],
)  # fmt: skip
def test_tracks_end_where_the_restorer_forgets(after):
    assert ids(Tracks(), frame(1000), after) == ["1", "2"]


def test_a_reset_of_the_engine_begins_anew(dry_model):
    engine = Engine.load(EngineSettings(dry_model, "cpu", "float32", score_threshold=0.0))
    frames = [frame(1000 + 100 * i) for i in range(3)]
    first = [engine.process(each).perception.detections for each in frames]
    engine.reset()
    assert [engine.process(each).perception.detections for each in frames] == first
    assert first[0] and all(found.id for found in first[0])
