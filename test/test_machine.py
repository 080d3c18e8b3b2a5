"""What is said of the machine that measures."""

import os

from ros2_derain import machine


def test_the_machine_has_cores_and_memory():
    said = machine.describe()
    assert said["cores"] == len(os.sched_getaffinity(0)) and said["memory_gib"] > 0


def test_what_a_hypervisor_takes_is_a_share_of_the_time_since(monkeypatch):
    ticks = iter([(100, 5000), (150, 5200)])
    monkeypatch.setattr(machine, "_core_time", lambda: next(ticks))
    assert machine.StealMeter().share() == 0.25


def test_a_system_that_says_nothing_of_it_is_taken_at_its_word(monkeypatch):
    monkeypatch.setattr(machine, "_core_time", lambda: (0, 0))
    assert machine.StealMeter().share() == 0.0


def test_the_kernel_s_own_figures_are_read():
    stolen, total = machine._core_time()
    assert 0 <= stolen < total
