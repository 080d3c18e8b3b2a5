"""Obstruction over the frames of a camera: average, regions, dirt, trust and confidence."""

import numpy as np
import pytest
import torch

from ros2_derain.engine import REGIONS, Engine, EngineSettings, Frame, Mode, Perception
from ros2_derain.engine.view import ViewTracker, hidden_classes, perceived_through, seen_through
from ros2_derain.networks import Water
from ros2_derain.networks.weather_gauge import RECENT_S

SECOND = 10**9
SIZE = 72, 96


def scene(second=0.0, seed=0):
    """A wide scene that passes the camera at 40 pixels per second."""
    wide = np.random.default_rng(seed).integers(0, 200, (9, 120, 3), np.uint8).repeat(8, 0).repeat(16, 1)
    left = int(40 * second)
    return np.ascontiguousarray(wide[:, left : left + SIZE[1]])


def frame(second=0.0, image=None, **changed):
    stamp = round(second * SECOND) + SECOND
    image = scene(second) if image is None else image
    return Frame(stamp, changed.get("frame_id", "camera"), image)


def seen(obstruction, contrast_loss=0.1):
    """Water whose obstruction is h x w."""
    cells = torch.as_tensor(np.asarray(obstruction, np.float32))[None, None]
    return Water(cells.mean((1, 2, 3)), torch.tensor([contrast_loss]), cells)


def cells(**shares):
    """18 x 24 cells at stride 4: ``left=1`` hides the left third."""
    made = np.zeros((18, 24), np.float32)
    for name, value in shares.items():
        made[{"left": np.s_[:, :8], "spot": np.s_[:3, :4], "all": np.s_[:]}[name]] = value
    return made


def follow(tracker, drive, settings):
    """The views of a drive: (second, obstruction, moving or not)."""
    views = []
    for second, obstruction, is_moving in drive:
        image = scene(second if is_moving else 0)
        time_ns = round(second * SECOND)
        views.append(tracker.update(frame(second, image), seen(obstruction), time_ns, settings)[0])
    return views


# The average


def test_the_first_frame_counts_as_measured_and_later_ones_follow_by_their_time():
    tracker, settings = ViewTracker(), EngineSettings(obstruction_average_s=0.5)
    for second, measured, expected in [
        (0.0, 0.8, 0.8),
        (0.1, 0.0, 0.8 * np.exp(-0.2)),
        (0.6, 1.0, 1 + (0.8 * np.exp(-0.2) - 1) * np.exp(-1)),
    ]:
        _, obstruction = tracker.update(
            frame(second), seen(cells(all=measured)), int(second * SECOND), settings
        )
        assert obstruction.shape == SIZE and obstruction.dtype == np.uint8
        assert np.abs(obstruction.astype(int) - 255 * expected).max() <= 1


def test_false_alarms_that_flicker_do_not_count_and_water_that_stays_does():
    settings = EngineSettings(obstruction_average_s=0.3)
    flickering = [(0.05 * i, cells(spot=float(i % 4 == 1)), True) for i in range(40)]
    assert all(view.coverage == 0 for view in follow(ViewTracker(), flickering, settings))
    staying = [(0.05 * i, cells(spot=float(i > 0)), True) for i in range(40)]
    views = follow(ViewTracker(), staying, settings)
    assert views[-1].coverage == pytest.approx(12 / 432) and views[0].coverage == 0


def test_without_an_average_every_frame_counts_as_measured():
    drive = [(0.05 * i, cells(spot=float(i % 2)), True) for i in range(4)]
    views = follow(ViewTracker(), drive, EngineSettings(obstruction_average_s=0.0))
    assert [view.coverage > 0 for view in views] == [False, True, False, True]


def test_what_is_not_measured_is_nan_and_there_is_no_map():
    view, obstruction = ViewTracker().update(frame(), None, 0, EngineSettings())
    assert obstruction is None and view.hidden == {}
    assert np.isnan([view.coverage, view.contrast_loss, view.dirt]).all()


def test_the_gauge_looks_in_every_frame_while_it_sees_water_and_else_now_and_then():
    tracker, settings = ViewTracker(), EngineSettings(water_interval_s=0.2, obstruction_average_s=0.0)
    wet, due, coverages = (0, 0, 1, 1, 0, 0, 0), [], []
    for number, covered in enumerate(wet):
        time_ns = number * SECOND // 10
        due.append(tracker.is_due(time_ns, settings))
        looked = seen(cells(all=float(covered))) if due[-1] else None
        coverages.append(tracker.update(frame(number / 10), looked, time_ns, settings)[0].coverage)
    assert due == [True, False, True, True, True, False, True] and coverages == list(wet)
    tracker.reset()
    assert tracker.is_due(round(0.61 * SECOND), settings)


def test_what_was_seen_last_counts_until_the_gauge_looks_again():
    tracker = ViewTracker()
    settings = EngineSettings(water_interval_s=0.2, gate_open_coverage=0.1, gate_close_coverage=0.1)
    first, _ = tracker.update(frame(0.0), seen(cells(spot=1.0)), 0, settings)
    assert not tracker.is_due(SECOND // 10, settings), "so little water does not count"
    later, _ = tracker.update(frame(0.1), None, SECOND // 10, settings)
    assert first.coverage == later.coverage == pytest.approx(1 / 36)


@pytest.mark.parametrize("size", [(64, 64), (65, 97), (100, 161), (720, 1281), (75, 1025)])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_the_map_has_the_size_of_the_image_and_its_cells_are_in_place(size, stride):
    height, width = size
    grid = np.zeros((-(-height // stride), -(-width // stride)), np.float32)
    grid[:, grid.shape[1] // 2 :] = 1
    image = np.zeros((*size, 3), np.uint8)
    _, obstruction = ViewTracker().update(frame(image=image), seen(grid), 0, EngineSettings())
    assert obstruction.shape == size
    edge = stride * (grid.shape[1] // 2)
    assert (obstruction[:, : edge - stride] == 0).all() and (obstruction[:, edge + stride :] == 255).all()


def test_what_says_nothing_is_published_as_zero():
    _, obstruction = ViewTracker().update(frame(), seen(cells(all=0.09)), 0, EngineSettings())
    assert not obstruction.any()


# Regions and classes


def test_each_region_has_its_hidden_share():
    tracker = ViewTracker()
    view, _ = tracker.update(frame(), seen(cells(left=1.0)), 0, EngineSettings())
    assert tuple(view.hidden) == REGIONS and view.coverage == pytest.approx(1 / 3)
    expected = {name: float(name.endswith("left")) for name in REGIONS}
    assert view.hidden == pytest.approx(expected, abs=1e-5)
    corner = np.zeros((18, 24), np.float32)
    corner[9:, 20:] = 1
    view, _ = ViewTracker().update(frame(), seen(corner), 0, EngineSettings())
    assert view.hidden["lower_right"] == sum(view.hidden.values()) == pytest.approx(0.5)


def test_sky_and_road_have_theirs_where_the_label_map_shows_them():
    labels = np.repeat(np.uint8([[0], [2], [1]]), 24, 0) * np.ones((1, 96), np.uint8)
    obstruction = np.zeros(SIZE, np.uint8)
    obstruction[:24, :48] = 255
    obstruction[48:, :] = 100
    assert hidden_classes(obstruction, labels, ("sky", "road", "car")) == {"sky": 0.5, "road": 0.0}
    assert hidden_classes(obstruction, labels, ("air", "road", "car")) == {"road": 0.0}
    assert hidden_classes(obstruction, np.full(SIZE, 2, np.uint8), ("sky", "road", "car")) == {}


# Dirt


def test_what_stays_while_the_scene_moves_becomes_dirt_and_is_no_water():
    settings = EngineSettings(dirt_after_s=5.0)
    drive = [(0.1 * i, cells(spot=1.0), True) for i in range(80)]
    views = follow(ViewTracker(), drive, settings)
    spot = pytest.approx(12 / 432)
    before, after = views[45], views[-1]
    assert (before.coverage, before.dirt) == (spot, 0) and (after.coverage, after.dirt) == (0, spot)
    assert after.hidden["upper_left"] > 0, "it hides as before"


@pytest.mark.parametrize("case", ["the car stands", "it is wiped", "dirt is switched off"])
def test_what_is_no_dirt(case):
    settings = EngineSettings(dirt_after_s=0.0 if case == "dirt is switched off" else 5.0)
    drive = []
    for i in range(120):
        wiped = case == "it is wiped" and i % 40 < 8
        drive.append((0.1 * i, cells(spot=float(not wiped)), case != "the car stands"))
    assert all(view.dirt == 0 for view in follow(ViewTracker(), drive, settings))


def test_only_the_time_in_which_the_scene_moves_counts():
    settings = EngineSettings(dirt_after_s=5.0)
    drive = [(0.1 * i, cells(spot=1.0), i < 30 or i > 100) for i in range(160)]
    views = follow(ViewTracker(), drive, settings)
    first = next(i for i, view in enumerate(views) if view.dirt)
    assert 115 <= first <= 135


def test_noise_and_exposure_are_no_motion():
    settings, random, tracker = EngineSettings(dirt_after_s=2.0), np.random.default_rng(0), ViewTracker()
    image = np.random.default_rng(3).integers(0, 180, (9, 12, 3), np.uint8).repeat(40, 0).repeat(53, 1)
    for i in range(80):
        shown = image * (0.7 + 0.3 * (i // 10 % 2)) + random.normal(0, 10, image.shape)
        shown = frame(0.1 * i, np.clip(shown, 0, 255).astype(np.uint8))
        view, _ = tracker.update(shown, seen(np.ones((90, 159))), int(0.1 * i * SECOND), settings)
    assert view.dirt == 0


def test_new_water_beside_dirt_is_water():
    settings = EngineSettings(dirt_after_s=3.0, obstruction_average_s=0.0)
    drive = [(0.1 * i, cells(spot=1.0), True) for i in range(60)]
    drive.append((6.0, cells(left=1.0), True))
    view = follow(ViewTracker(), drive, settings)[-1]
    assert view.dirt == pytest.approx(12 / 432) and view.coverage == pytest.approx(1 / 3 - 12 / 432)


# Trust and confidence


def test_trust_and_confidence_fall_by_what_is_hidden():
    obstruction = np.uint8([[0, 51, 128, 255]])
    assert seen_through(np.uint8([[200, 200, 200, 200]]), obstruction).tolist() == [[200, 160, 100, 0]]
    whole = np.uint8([[7, 7]])
    assert seen_through(whole, None) is whole


def test_labels_below_the_threshold_after_that_are_unlabelled():
    perception = Perception(np.uint8([[1, 1, 1]]), np.uint8([[200, 200, 200]]), ())
    obstruction = np.uint8([[0, 64, 255]])
    through = perceived_through(perception, obstruction, 0.7)
    assert through.labels.tolist() == [[1, 255, 255]] and through.confidence.tolist() == [[200, 150, 0]]
    assert perceived_through(perception, obstruction, 0.0).labels is perception.labels


# The engine


class Painted:
    """A gauge that sees water where the image is white, and no rain."""

    sees_water = True

    def __init__(self, contrast_loss=0.0, rate=0.0):
        self.contrast_loss, self.rate = contrast_loss, rate

    def __call__(self, image):
        return torch.tensor([self.rate])

    def water(self, image, recent):
        white = (image.mean(1, keepdim=True) > 0.98).float()
        grid = torch.nn.functional.avg_pool2d(white, 4, ceil_mode=True)
        return seen(grid[0, 0].numpy(), self.contrast_loss)


def painted_engine(model, gauge, **settings):
    engine = Engine.load(EngineSettings(model=model, device="cpu", precision="float32", **settings))
    engine.restorer._gauge = gauge
    return engine


def wet(second=0.0, rows=24, columns=32):
    image = scene(second).copy()
    image[:rows, :columns] = 255
    return frame(second, image)


def test_the_gauge_gets_the_mean_of_the_images_it_looked_at_before(dry_model):
    given = []

    class Watching(Painted):
        def water(self, image, recent):
            given.append((image.clone(), recent.clone()))
            return super().water(image, recent)

    engine = painted_engine(dry_model, Watching(), water_interval_s=0.2, reset_gap_s=2.0)
    for second in (0.0, 0.1, 0.2, 0.7, 5.0):
        engine.process(frame(second))
    images, means = zip(*given, strict=True)
    assert len(given) == 4, "the frame at 0.1 s is too early"
    assert torch.equal(means[0], images[0]) and torch.equal(means[1], images[0])
    share = 1 - np.exp(-0.2 / RECENT_S)
    torch.testing.assert_close(means[2], images[0] + share * (images[1] - images[0]))
    assert torch.equal(means[3], images[3]), "after a gap it begins anew"


def test_water_on_the_glass_opens_the_gate_in_dry_weather(dry_model):
    engine = painted_engine(dry_model, Painted())
    dry, covered = engine.process(frame()), engine.process(wet(0.1))
    assert dry.mode is Mode.DRY and dry.view.coverage == 0 and (dry.trust == 255).all()
    engine.reset()
    covered = engine.process(wet(0.1))
    assert covered.mode is Mode.LOOP and covered.view.coverage == pytest.approx(1 / 9)
    assert covered.view.hidden["upper_left"] == pytest.approx(2 / 3, abs=1e-5)
    assert (covered.obstruction[:20, :28] == 255).all() and not covered.obstruction[32:, 40:].any()
    assert not covered.trust[:20, :28].any() and not covered.perception.confidence[:20, :28].any()
    assert covered.perception.confidence[40:, 48:].any()


def test_lost_contrast_opens_the_gate(dry_model):
    engine = painted_engine(dry_model, Painted(contrast_loss=0.5))
    found = engine.process(frame())
    assert found.mode is Mode.LOOP and found.view.contrast_loss == pytest.approx(0.5)


def test_a_frame_below_the_limits_is_untouched_and_its_trust_says_what_is_hidden(dry_model):
    engine = painted_engine(dry_model, Painted(contrast_loss=0.15))
    given = wet(rows=4, columns=6)
    found = engine.process(given)
    assert found.mode is Mode.DRY and found.image is given.image and 0 < found.view.coverage < 0.0045
    assert found.trust[0, 0] == 0 and (found.trust[20:] == 255).all()


def test_dirt_does_not_open_the_gate(dry_model):
    engine = painted_engine(dry_model, Painted(), dirt_after_s=3.0)
    modes = [engine.process(wet(0.25 * i)).mode for i in range(20)]
    assert modes[0] is Mode.LOOP and modes[-1] is Mode.DRY
    assert engine.process(wet(8.0)).mode is Mode.DRY, "a gap in time makes it no water"


@pytest.mark.parametrize("change", ["gap", "jump back", "camera"])
def test_the_average_begins_anew_where_the_clip_breaks(dry_model, change):
    engine = painted_engine(dry_model, Painted(), obstruction_average_s=10.0)
    engine.process(wet(1.0))
    after = {
        "gap": frame(3.0),
        "jump back": frame(0.5),
        "camera": frame(1.1, frame_id="other"),
    }[change]
    assert engine.process(after).view.coverage == 0


def test_a_gauge_that_is_not_finite_passes_the_frame_through_and_poisons_no_later_one(dry_model):
    gauge = Painted()
    engine = painted_engine(dry_model, gauge)
    engine.process(wet())
    gauge.contrast_loss = float("nan")
    failed = engine.process(wet(0.3))
    assert failed.mode is Mode.PASS_THROUGH and "gauge" in failed.fault and failed.obstruction is None
    assert np.isnan(failed.view.coverage)
    gauge.contrast_loss = 0.0
    assert engine.process(wet(0.6)).view.coverage == pytest.approx(1 / 9)


def test_sky_and_road_are_reported_of_the_frame_s_own_labels(dry_model):
    found = painted_engine(dry_model, Painted()).process(wet())
    labels, hidden = found.perception.labels[::4, ::4], found.obstruction[::4, ::4] > 127
    for index, name in enumerate(("sky", "road")):
        if (labels == index).any():
            assert found.view.hidden[name] == pytest.approx(hidden[labels == index].mean())
    assert {"sky", "road"} & set(found.view.hidden)
