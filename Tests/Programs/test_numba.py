# SPDX-License-Identifier: Apache-2.0
"""Numba: an unmodified Python program through the network, and the quick part of Numba's own tests."""
import pathlib

import pytest
from conftest import PYTHON, ROOT, SOFT, BITFUSION, environment, run

MANDELBROT = ROOT / "examples" / "mandelbrot_numba.py"
SUITE = ROOT / "Tests" / "Programs" / "numba-suite"


def expect_picture(finished, picture):
    assert finished.returncode == 0, str(finished)
    data = pathlib.Path(picture).read_bytes()
    assert data.startswith(b"\x89PNG") and len(data) > 10_000
    assert str(picture) in finished.stdout, str(finished)


def test_picture_directly(tmp_path):
    picture = tmp_path / "mandelbrot.png"
    finished = run([PYTHON, MANDELBROT, picture], environment(LD_LIBRARY_PATH=SOFT, BITFUSION_SOFT_GPU="1x4096"))
    expect_picture(finished, picture)


def test_picture_with_a_private_worker(tmp_path):
    picture = tmp_path / "mandelbrot.png"
    expect_picture(run([BITFUSION, "local", "--soft-gpu", "1x4096", "--", PYTHON, MANDELBROT, picture]), picture)


def test_picture_through_the_network(manager, tmp_path):
    picture = tmp_path / "mandelbrot.png"
    expect_picture(manager.run([PYTHON, MANDELBROT, picture]), picture)


@pytest.mark.timeout(900)
def test_quick_part_of_the_suite(manager, tmp_path):
    finished = manager.run([PYTHON, SUITE, "--quick", "--out", tmp_path], timeout=800)
    assert finished.returncode == 0, f"{finished}\n{(tmp_path / 'failures.txt').read_text()}"
