"""Ids of detections: they last, and end where the engine forgets."""

from dataclasses import replace

import numpy as np
import pytest

from ros2_derain.engine import Detection, Engine, EngineSettings, Frame
from ros2_derain.engine.tracking import Tracks

MS = 10**6
CAR = Detection("car", 0.9, 10, 10, 40, 40)


def frame(stamp_ms, frame_id="camera", size=(64, 96)):
    return Frame(stamp_ms * MS, frame_id, np.zeros((*size, 3), np.uint8))


def ids(tracks, *frames):
    return [tracks.identify(each, (CAR,), 0.4, 1.0)[0].id for each in frames]


def test_ids_last():
    assert ids(Tracks(), *(frame(1000 + 100 * i) for i in range(5))) == ["1"] * 5


@pytest.mark.parametrize(
    "after", [frame(500), frame(5000), frame(1100, "other"), frame(1100, size=(128, 96))],
    ids=["step back", "gap", "other camera", "other size"],
)  # fmt: skip
def test_tracks_end_where_the_restorer_forgets(after):
    assert ids(Tracks(), frame(1000), after) == ["1", "2"]


def test_a_weak_detection_counts_where_it_continues_a_track():
    tracks, weak = Tracks(), replace(CAR, score=0.35)
    elsewhere = replace(weak, x0=60, x1=90)
    assert not tracks.identify(frame(1000), (weak,), 0.4, 1.0)
    assert [found.id for found in tracks.identify(frame(1100), (CAR,), 0.4, 1.0)] == ["1"]
    assert tracks.identify(frame(1200), (weak, elsewhere), 0.4, 1.0) == (replace(weak, id="1"),)


def test_an_engine_publishes_weak_detections_of_its_tracks_alone(dry_model):
    """The same image twice: what began no track in the first is not in the second either."""
    settings = EngineSettings(dry_model, "cpu", "float32", score_threshold=0.0)
    scores = [found.score for found in Engine.load(settings).process(frame(1000)).perception.detections]
    middle = (scores[0] + scores[-1]) / 2
    assert scores[-1] < middle < scores[0]
    engine = Engine.load(replace(settings, score_threshold=middle, tracked_score_threshold=0.0))
    for stamp_ms in (1000, 1100):
        found = engine.process(frame(stamp_ms)).perception.detections
        assert found and all(each.id and each.score >= middle for each in found)
    strongest = found[0].score
    engine.interpreter.settings = replace(engine.interpreter.settings, score_threshold=strongest)
    again = engine.process(frame(1200)).perception.detections
    assert {each.id for each in found} <= {each.id for each in again}


def test_a_reset_of_the_engine_begins_anew(dry_model):
    engine = Engine.load(EngineSettings(dry_model, "cpu", "float32", score_threshold=0.0))
    frames = [frame(1000 + 100 * i) for i in range(3)]
    first = [engine.process(each).perception.detections for each in frames]
    engine.reset()
    assert [engine.process(each).perception.detections for each in frames] == first
    assert first[0] and all(found.id for found in first[0])
