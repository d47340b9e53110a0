# SPDX-License-Identifier: Apache-2.0
"""Tensor maps, which only GPUs of compute capability 9.0 have.

No machine with one runs these tests: a driver that is made here, the software GPU's with the functions of
tensor_maps_driver.c in front, writes down what it is asked and answers maps that tell it. Everything between the program
and that driver is as it is installed.
"""
import subprocess

import pytest
from conftest import CLIENT, Manager, ROOT, SOFT, run

SOURCES = ROOT / "Tests" / "Programs"
HEADERS = f"-I{ROOT}/.build/python/cuda/include"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Compiled with NVIDIA's header, so that the layout and the alignment of maps are theirs."""
    made = tmp_path_factory.mktemp("tensor-maps") / "tensor_maps"
    subprocess.run(["gcc", "-O1", "-Wall", "-Werror", HEADERS, "-o", made, SOURCES / "tensor_maps.c",
                    CLIENT / "libcuda.so.1", "-Wl,--allow-shlib-undefined"], check=True)
    return made


@pytest.fixture
def server(tmp_path):
    """A server whose driver has tensor maps, and the file in which that writes down what it is asked."""
    driver = tmp_path / "libcuda.so.1"
    made = run(["gcc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", HEADERS, "-o", driver,
                "-Wl,-soname,libcuda-tensor-maps.so", "-Wl,--no-as-needed", SOURCES / "tensor_maps_driver.c",
                SOFT / "libcuda.so.1", f"-Wl,-rpath,{SOFT}", "-Wl,--allow-shlib-undefined"])
    assert made.returncode == 0, str(made)
    (tmp_path / "libnvidia-ml.so.1").symlink_to(SOFT / "libnvidia-ml.so.1")
    log = tmp_path / "asked"
    daemon = Manager("1x256", options=("--driver", driver), before=("env", f"BITFUSION_TEST_TENSOR_MAPS={log}"))
    yield daemon, log
    daemon.stop()


def test_what_the_driver_is_asked(program, server, transport):
    """Every argument arrives; a map that is known is not asked for again, a refusal is."""
    daemon, log = server
    finished = daemon.run([program])
    assert finished.returncode == 0, str(finished)
    memory, end = finished.stdout.split("\n", 1)
    assert end == "ok tensor_maps\n"
    address = int(memory, 16)
    asked = log.read_text().splitlines()
    kinds = "kinds 0 3 3 1"
    five = "sizes 64 32 16 8 2147483648 strides 128 4096 549755813888 65536"
    assert asked[:-1] == [
        f"tiled 6 3 {address:#x} sizes 64 32 16 strides 128 4096 box 64 8 4 steps 1 2 3 {kinds}",
        f"tiled 9 5 {address + 256:#x} {five} box 64 8 4 2 1 steps 1 2 3 4 5 {kinds}",
        f"tiled 0 1 {address:#x} sizes 64 strides box 64 steps 1 {kinds}",
        *[f"tiled 99 2 {address:#x} sizes 64 32 strides 128 box 64 8 steps 1 2 {kinds}"] * 2,
        f"im2col 7 4 {address:#x} sizes 64 32 16 8 strides 128 4096 549755813888 lower -1 -2 upper 1 2 "
        "pixels 64 256 steps 1 2 3 4 kinds 1 1 0 0",
        f"wide 11 5 {address:#x} {five} row -4 7 pixels 32 128 steps 1 2 3 4 5 kinds 0 1 2 1 0",
        f"replace {address:#x} by {address + 512:#x}",
        "class 2",
        "class 1",
    ], "\n".join(asked)
    # Where the device has the pinned memory.
    assert asked[-1].startswith("tiled 6 3 ")
