"""Values of command-line options: what is accepted, and the messages for what is not."""

import argparse
import subprocess
import sys

import pytest

from ros2_derain import options


def test_image_sizes():
    assert options.image_size("960x540") == (960, 540)
    for wrong in ("960", "960x", "32x540", "axb"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected WIDTHxHEIGHT|at least 64x64"):
            options.image_size(wrong)


def test_lists_of_numbers():
    assert options.rates("0,50, 150") == (0, 50, 150) and options.seeds("3") == (3,)
    for read, wrong, message in (
        (options.rates, "0,wet", "--rates: 'wet' is not a rain rate in 0..250: give e.g. --rates 150"),
        (options.rates, "5,5", "--rates: '5,5' repeats a value: give each once"),
        (options.seeds, "1,-2", "--seed: '-2' is not a seed in 0..2147483647"),
        (options.frequency, "nan", "--fps: 'nan' is not a frame rate"),
    ):
        with pytest.raises(options.OptionError, match=message):
            read(wrong)


def test_options_need_no_torch():
    code = "import sys, ros2_derain.options; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
