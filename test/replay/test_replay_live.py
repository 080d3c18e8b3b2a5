"""``ros2-derain replay --live``: a bag over DDS into a running pipeline, every frame accounted for."""

import numpy as np
import pytest
from made_bags import (
    FIRST_NS,
    SCENE,
    STEP_NS,
    camera_info,
    drive,
    of,
    raw_image,
    read_bag,
    stamp_ns,
    write_bag,
)
from replaying import records, replay, summary

APART_NS = 150_000_000


def kinds(bag: list) -> set[tuple[str, str]]:
    """Every topic of what was read, with its type."""
    return {(topic, message.__msgtype__) for topic, _, _, message in bag}


@pytest.mark.slow
def test_a_live_replay_keeps_stamps_and_accounts_for_every_frame(rainy_model, tmp_path, capfd):
    listed = []
    for index, (topic, image) in enumerate(drive(6, "/front/image_raw")):
        listed += [("/front/camera_info", camera_info(FIRST_NS + index * STEP_NS)), (topic, image)]
    listed[7] = ("/front/image_raw", raw_image(FIRST_NS + 3 * STEP_NS, SCENE, "no_encoding"))
    bag, out = write_bag(tmp_path / "bag", listed, apart_ns=APART_NS), tmp_path / "out"
    assert replay(bag, out, rainy_model, "--live", "--rate", 0.8) == 0, capfd.readouterr()
    found = summary(out)
    counts = found["live"]["nodes"]["derain_node"]
    assert counts["frames_in"] == 6 == counts["frames_out"] + sum(counts["dropped"].values())
    assert counts["dropped"]["refused.encoding"] == 1
    assert found["frames"]["in"] == 6 and found["frames"]["unread"] == 1
    assert found["frames"]["read"] + found["frames"]["dropped"] == 5
    sent = {FIRST_NS + index * STEP_NS for index in range(6)}
    assert replay(bag, tmp_path / "offline", rainy_model) == 0
    live, offline = (read_bag(folder / "output") for folder in (out, tmp_path / "offline"))
    assert kinds(live) == kinds(offline) | {("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray")}
    images = of(live, "/front/derain/image")
    assert images and {stamp_ns(image) for image in images} <= sent
    seen = [line for line in records(out) if "mode" in line]
    assert seen and all(line["rain_mm_h"] == pytest.approx(100, rel=0.05) for line in seen)
    assert found["latency_ms"]["total"]["p50"] > 0
    assert "Where the frames went" in (out / "report.html").read_text()


@pytest.mark.slow
def test_a_live_replay_pairs_repeated_stamps_by_order(rainy_model, tmp_path, capfd):
    stamps = [0, 0, FIRST_NS, FIRST_NS, 0, FIRST_NS + STEP_NS]
    listed = [("/image", raw_image(stamp, np.roll(SCENE, 9 * i, 1))) for i, stamp in enumerate(stamps)]
    listed[1] = ("/image", raw_image(0, SCENE, "no_encoding"))
    bag, out = write_bag(tmp_path / "bag", listed, apart_ns=APART_NS), tmp_path / "out"
    references = [("/clean", raw_image(0, np.roll(SCENE, 9 * i, 1))) for i in range(6)]
    bag = write_bag(tmp_path / "compared", [*listed, *references], apart_ns=APART_NS)
    options = ("--live", "--rate", 0.5, "--references", "/clean")
    assert replay(bag, out, rainy_model, *options) == 0, capfd.readouterr()
    found = summary(out)
    assert found["problems"] == [] and found["frames"]["in"] == 6 and found["frames"]["unread"] == 1
    published = found["live"]["nodes"]["derain_node"]["frames_out"]
    assert found["frames"]["read"] == published == found["truth"]["images"]["frames"] > 0
    assert stamps_of(out) == [stamp for i, stamp in enumerate(stamps) if i != 1]
    if published == 5:  # each compared with its own reference
        assert all(
            line["truth"]["images"]["input"]["psnr_db"] is None for line in records(out) if "mode" in line
        )


def stamps_of(out) -> list[int]:
    return [stamp_ns(image) for image in of(read_bag(out / "output"), "/derain/image")]


def test_live_plays_one_camera(rainy_model, tmp_path, capsys):
    bag = write_bag(tmp_path / "bag", [*drive(1, "/a"), *drive(1, "/b")])
    assert replay(bag, tmp_path / "out", rainy_model, "--live") == 2
    assert "--live plays one camera: choose it with --topic, one of /a, /b" in capsys.readouterr().err
    assert replay(bag, tmp_path / "out", rainy_model, "--live", "--inject-rain", 50) == 2
    assert "leave out" in capsys.readouterr().err
