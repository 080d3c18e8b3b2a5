"""The drill: it tells a pipeline that stands a fault from one that does not, and this one stands them."""

import json
import time
from contextlib import contextmanager

import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image

from ros2_derain import cli
from ros2_derain.drill import command, load
from ros2_derain.drill.faults import Fault, Seen
from ros2_derain.drill.load import Process
from ros2_derain.drill.test_pipeline import Shortfall, Subject
from ros2_derain.nodes import images, messages
from ros2_derain.ros_testing import probe as probes
from ros2_derain.ros_testing.probe import Answer, Negative, Probe, Sent, number_of, picture

ON_ONE_PIPELINE = (
    "camera-repeats-frames",
    "encoding-changes",
    "frame-id-changes",
    "stamps-ahead",
    "stamps-jump-back",
    "junk-images",
    "derainer-not-finite",
    "device-out-of-memory",
    "parser-not-finite",
    "parameter-abuse",
    "sigterm",
)
ON_TWO_PROCESSES = ("segmentation-node-dies", "derain-node-dies")


@pytest.mark.slow
@pytest.mark.parametrize("names", [ON_ONE_PIPELINE, ON_TWO_PROCESSES], ids=["composed", "two processes"])
def test_the_pipeline_stands_its_faults(rainy_model, tmp_path, names):
    faults = [fault for fault in command.CAMPAIGN if fault.name in names]
    rows = list(command.run(faults, Subject(rainy_model, "cpu", tmp_path, patience=10)))
    assert {row.fault for row in rows} == set(names)
    assert [(row.fault, row.seen) for row in rows if not row.passed] == []


@pytest.mark.parametrize("number", [0, 1, 777, 2**16 - 1])
def test_a_picture_can_be_told_by_its_number_when_it_has_been_changed(number):
    image = picture(number).astype(float)
    noisy = image * 0.8 + 20 + np.random.default_rng(0).normal(0, 15, image.shape)
    assert number_of(picture(number)) == number == number_of(noisy.clip(0, 255).astype(np.uint8))
    assert number_of(picture(number, 64, 96)) is None


def test_prints_of_a_negative_are_the_messages_with_their_stamps_and_numbers():
    negative = Negative("front", 64, 256)
    for stamp, number in ((10**18 + 1, 5), (3 * 10**9 + 7, 60000)):
        message = deserialize_message(negative.print(stamp, number), Image)
        assert message == images.from_rgb(picture(number, 64, 256), messages.to_header(stamp, "front"))


@pytest.fixture
def probe():
    with Probe("/nowhere") as made:
        yield made


def answered(probe, *answers):
    probe.sent = {1: Sent(10, "front", time.monotonic()), 2: Sent(11, "front", time.monotonic())}
    probe.answers["derain/image"] = [Answer(*fields, time.monotonic()) for fields in answers]
    return probe.strangers()


def test_answers_to_the_frames_that_were_sent_are_well(probe):
    assert answered(probe, (1, "front", 10), (2, "front", 11)) == []
    assert answered(probe, (1, "front", None)) == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((3, "front", 10), "the stamp 3, which was never sent"),
        ((1, "left", 10), "frame_id 'left' instead of 'front'"),
        ((1, "front", 11), "shows picture 11 under the stamp of 10"),
    ],
)
def test_an_answer_under_a_wrong_stamp_is_found(probe, answer, said):
    (found,) = answered(probe, answer)
    assert said in found


def test_an_answer_twice_is_found_unless_two_were_asked(probe):
    assert "bears a stamp 2 times" in answered(probe, (1, "front", 10), (1, "front", 10))[0]
    assert probe.strangers(instances=2) == []
    probe.repeated[1] = 1
    assert probe.strangers() == []


def test_frames_whose_answer_may_still_come_are_not_forgotten(probe, monkeypatch):
    answered(probe, (1, "front", 10))
    probe.forget()
    assert set(probe.sent) == {1, 2} and not probe.answers
    monkeypatch.setattr(probes, "REMEMBERED_S", -1.0)
    probe.forget()
    assert not probe.sent


class StillStage:
    """Stands in for a pipeline where only the judge is of interest."""

    children = {}

    class probe:
        forget = staticmethod(lambda: None)
        strangers = staticmethod(lambda instances: [])

    settle = staticmethod(lambda: True)


def faults(*verdicts):
    """Faults that are stood, or not, and how often their stage was made."""
    made = []

    @contextmanager
    def stage(subject):
        made.append(subject)
        yield StillStage()

    def inject(verdict):
        def play(stage):
            if isinstance(verdict, str):
                raise Shortfall(verdict)
            return Seen("as expected", verdict)

        return play

    return [Fault(f"fault-{i}", "well", inject(v), stage) for i, v in enumerate(verdicts)], made


def test_after_a_fault_that_was_not_stood_the_next_has_a_new_pipeline(tmp_path):
    given, made = faults(0.5, "nothing came", 1.0, 2.0)
    rows = list(command.run(given, Subject("m", "cpu", tmp_path)))
    assert [row.passed for row in rows] == [True, False, True, True] and len(made) == 2
    assert rows[1].seen == "nothing came" and rows[2].recovered_s == 1.0


def test_the_verdict_is_the_exit_status_and_stands_in_table_and_json(tmp_path, monkeypatch, capsys):
    given, _ = faults(0.5, "nothing | came")
    monkeypatch.setattr(command, "CAMPAIGN", tuple(given))
    monkeypatch.setattr(command.load, "SHORT", ())
    monkeypatch.setattr(command.environment, "isolate", lambda: None)
    file = tmp_path / "drill.json"
    assert cli.main(["drill", "--json", str(file), "--markdown"]) == 1
    out = capsys.readouterr().out
    assert "1 of 2 stood" in out and "FAIL fault-1" in out
    assert "| fault-1 | well | nothing / came |  | **falls short** |" in out
    assert [row["passed"] for row in json.loads(file.read_text())["faults"]] == [True, False]
    assert cli.main(["drill", "--only", "fault-0"]) == 0


def test_an_unknown_fault_is_named(capsys):
    assert cli.main(["drill", "--only", "meteorite"]) == 2
    assert "--only meteorite: no such fault; known: camera-stops" in capsys.readouterr().err


def test_every_fault_has_a_name_of_its_own_and_is_listed(capsys):
    assert cli.main(["drill", "--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert len(listed) == len(set(listed)) == len(command.CAMPAIGN) + 1


def pairs(kept=(1.0, 1.0, 1.0), age_s=0.1, last_mb=500.0, uncounted=0, spoilt=0.0, camera=0.0):
    """A machine whose speed falls all the time; of every other pair a hypervisor takes a half."""
    made, speed = [], 20.0
    for factor, share in zip(load.FACTORS, kept, strict=True):
        for index in range(2 * load.WANTED):
            stolen, rate = (0.5, 2.0) if index % 2 else (spoilt, speed)
            full = load.Window(rate, 0.1, 0.05, 500.0, 0, 0.0, 0.0)
            loaded = load.Window(share * rate, age_s, 0.05, last_mb, uncounted, stolen, camera)
            made.append(load.Pair(factor, full, loaded))
            speed -= 0.5
    return made


def test_an_overload_is_held_against_what_the_machine_did_just_before():
    assert load.withstood(pairs(kept=(1.0, 0.95, 0.9))) == (
        "2x: 12.0 to 20.0/s, 1x: 19.0/s (100%, 100% for the cores it had), "
        "5x: 15.2/s (95%, 95% for the cores it had), 20x: 11.7/s (90%, 90% for the cores it had); "
        "oldest (p95) 100 ms; memory 500 -> 500 MB"
    )


def test_what_a_hypervisor_took_is_named_where_no_pair_was_calm():
    assert load.withstood(pairs(spoilt=0.1)).endswith("other machines took up to 10% of the cores' time")


def test_what_the_camera_takes_is_not_the_pipeline_s_to_give():
    said = load.withstood(pairs(kept=(1.0, 0.9, 0.9), camera=0.1))
    assert "20x: 11.7/s (90%, 100% for the cores it had)" in said


@pytest.mark.parametrize(
    ("fallen", "said"),
    [
        (pairs(kept=(1.0, 1.0, 0.88)), "the output rate fell below 90% of that at 2x"),
        (pairs(age_s=0.2), "at 1x frames came out 200 ms old (p95), over 1"),
        (pairs(last_mb=530.0), "memory grew"),
        (pairs(uncounted=3), "54 frames were not counted"),
    ],
    ids=["rate", "age", "memory", "books"],
)
def test_an_overload_that_is_not_withstood_falls_short(fallen, said):
    with pytest.raises(Shortfall) as error:
        load.withstood(fallen)
    assert said in str(error.value)


def samples(rss=lambda t: 500.0, age=lambda t: 0.1, threads=lambda t: 20):
    return [(Process(rss(t), threads(t)), age(t)) for t in np.linspace(0, 1, 60)]


def test_a_soak_that_creeps_in_nothing_is_stood():
    assert "500.0 -> 500.0 MB" in load.judged(samples(), 30).text
    assert load.judged(samples(rss=lambda t: 500.0 if t > 0.05 else 400.0), 30), "it may settle at first"


@pytest.mark.parametrize(
    "creeping",
    [
        samples(rss=lambda t: 500 + 20 * t),
        samples(age=lambda t: 0.1 + 0.05 * t),
        samples(threads=lambda t: 20 + int(10 * t)),
    ],
    ids=["memory", "latency", "threads"],
)
def test_a_soak_that_creeps_falls_short(creeping):
    with pytest.raises(Shortfall):
        load.judged(creeping, 30)


def test_what_linux_says_of_this_process():
    import os

    found = Process.read(os.getpid())
    assert found.rss_mb > 10 and found.threads >= 1
