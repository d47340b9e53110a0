# SPDX-License-Identifier: Apache-2.0
"""What programs ask of a driver beside work: green contexts, the error log, stray handles; and the driver's variables."""
import re
import subprocess

import pytest
from conftest import CLIENT, PYTHON, ROOT, run

SOURCES = ROOT / "Tests" / "Programs"
LINE = re.compile(r"\[\d\d:\d\d:\d\d\.\d{3}\]\[\d+\]\[CUDA\]\[E\] Returning \d+ \(CUDA_ERROR_\w+\) from cu\w+")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Compiled with NVIDIA's header, so that the layouts of structures are theirs."""
    made = tmp_path_factory.mktemp("driver") / "driver_tools"
    subprocess.run(
        ["gcc", "-O1", "-Wall", "-Werror", "-Wno-deprecated-declarations", f"-I{ROOT}/.build/python/cuda/include", "-o", made, SOURCES / "driver_tools.c",
         CLIENT / "libcuda.so.1", "-Wl,--allow-shlib-undefined"], check=True)
    return made


def test_driver_tools(program, manager, transport):
    """ARC: handles that are none are refused, and the worker goes on."""
    finished = manager.run([program])
    assert finished.returncode == 0 and finished.stdout == "ok driver_tools\n", str(finished)
    assert finished.stderr == ""


def test_blocking_launches(program, manager):
    finished = manager.run(["env", "CUDA_LAUNCH_BLOCKING=1", program])
    assert finished.returncode == 0, str(finished)


@pytest.mark.parametrize("place", ["stderr", "file"])
def test_error_log_goes_where_the_variable_says(program, manager, tmp_path, place):
    log = tmp_path / "cuda.log"
    finished = manager.run(["env", f"CUDA_LOG_FILE={log if place == 'file' else place}", program])
    assert finished.returncode == 0, str(finished)
    lines = (log.read_text() if place == "file" else finished.stderr).splitlines()
    assert len(lines) > 100
    assert all(LINE.fullmatch(line) for line in lines), lines[:5]


@pytest.mark.parametrize("visible, works", [("0", True), ("0,1", True), ("1,0", False), ("", False), ("-1,0", False), ("7", False)])
def test_visible_devices(program, manager, visible, works):
    finished = manager.run(["env", f"CUDA_VISIBLE_DEVICES={visible}", "CUDA_DEVICE_ORDER=PCI_BUS_ID", program])
    if works:
        assert finished.returncode == 0, str(finished)
    else:
        # cuInit: CUDA_ERROR_NO_DEVICE.
        assert finished.returncode == 1 and "cuInit(0): 100" in finished.stderr, str(finished)


# Prints the name that the library has for each code, before any cuInit and without a server.
NAMES = """
import ctypes, sys
driver = ctypes.CDLL(sys.argv[1])
for code in range(1000):
    name = ctypes.c_char_p()
    if driver.cuGetErrorName(code, ctypes.byref(name)) == 0:
        print(name.value.decode(), code)
"""


def test_every_result_code_has_its_name():
    """All codes of NVIDIA's header, and no other."""
    header = (ROOT / ".build" / "python" / "cuda" / "include" / "cuda.h").read_text()
    codes = re.search(r"typedef enum cudaError_enum \{(.*?)\} CUresult;", header, re.DOTALL).group(1)
    expected = {f"{name} {code}" for name, code in re.findall(r"(CUDA_\w+)\s*=\s*(\d+)", codes)}
    finished = run([PYTHON, "-c", NAMES, CLIENT / "libcuda.so.1"])
    assert len(expected) > 90
    assert set(finished.stdout.splitlines()) == expected, str(finished)
