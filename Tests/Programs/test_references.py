# SPDX-License-Identifier: Apache-2.0
"""What no current compiler makes any more: texture and surface references, and grids on several devices.

The programs are compiled with the headers of a runtime that still declares these functions.
"""
import subprocess

import pytest
from conftest import CLIENT, ROOT

SOURCES = ROOT / "Tests" / "Programs"


@pytest.mark.parametrize("name, gpus", [("texture_references", 1), ("multi_device", 2)])
def test_program(name, gpus, manager, transport, tmp_path):
    headers = sorted((ROOT / ".build" / "cudart").glob("12.*/include"))[-1]
    program = tmp_path / name
    subprocess.run(["gcc", "-O1", "-Wall", "-Werror", "-Wno-deprecated-declarations", f"-I{headers}", "-o", program,
                    SOURCES / f"{name}.c", CLIENT / "libcuda.so.1", "-Wl,--allow-shlib-undefined"], check=True)
    finished = manager.run([program], "-n", gpus)
    assert finished.returncode == 0 and finished.stdout == f"ok {name}\n", str(finished)
    assert finished.stderr == ""
