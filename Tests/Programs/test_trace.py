# SPDX-License-Identifier: Apache-2.0
"""BITFUSION_TRACE and `bitfusion trace`: what is recorded of whole programs, and what becomes of it when they end badly."""
import json
import os
import signal

import pytest
from conftest import BITFUSION, PROGRAMS, PYTHON, ROOT, environment, eventually, program_below, run, Running

NUMBA = """
import numpy
from numba import cuda

@cuda.jit
def add(a, b, c):
    i = cuda.grid(1)
    if i < c.size:
        c[i] = a[i] + b[i]

a = cuda.to_device(numpy.ones(1000, numpy.float32))
c = cuda.device_array(1000, numpy.float32)
for _ in range(7):
    add[8, 128](a, a, c)
assert (c.copy_to_host() == 2).all()
"""
FORKS = """
import ctypes, os, sys
import time
def use():
    cuda = ctypes.CDLL("libcuda.so.1")
    version = ctypes.c_int()
    assert cuda.cuInit(0) == 0 and cuda.cuDriverGetVersion(ctypes.byref(version)) == 0
if os.fork() == 0:
    use()
    sys.exit(0)
os.wait()
use()
"""


def traced(manager, program, file, *options):
    """A run of a program whose calls are recorded in `file`."""
    return run(manager.command(program, *options), environment(BITFUSION_TRACE=file))


def summary(*files):
    finished = run([BITFUSION, "trace", "--json", *files])
    assert finished.returncode == 0, str(finished)
    return json.loads(finished.stdout), finished.stderr


def counts(found):
    return {call["name"]: call["count"] for call in found["calls"]}


def exported(folder, file):
    """The calls as Chrome's trace viewer is given them."""
    chrome = folder / "chrome.json"
    finished = run([BITFUSION, "trace", "--chrome", chrome, file])
    assert finished.returncode == 0, str(finished)
    return [event for event in json.loads(chrome.read_text())["traceEvents"] if event["ph"] == "X"]


def test_a_cuda_program(manager, tmp_path):
    file = tmp_path / "trace"
    finished = traced(manager, [PROGRAMS / "vector_add"], file)
    assert finished.returncode == 0 and "ok vector_add" in finished.stdout, str(finished)
    found, errors = summary(file)
    assert errors == ""
    calls = counts(found)
    # Two arrays up, one kernel, one array down.
    assert calls["cuLaunchKernel"] == 1 and calls["cuMemcpyDtoH_v2"] == 1 and calls["cuMemcpyHtoD_v2"] == 2, calls
    assert calls["cuMemAlloc_v2"] == 3 and calls["cuMemFree_v2"] == 3 and calls["cuInit"] == 1
    assert sum(calls.values()) == found["callCount"]
    process, = found["processes"]
    assert process["program"] == "vector_add" and process["threads"] == 1
    waits = {call["name"]: call for call in found["network"]["calls"]}
    # The runtime asks for the version before it does anything else: that is where the program is connected.
    assert waits["cuDriverGetVersion"]["count"] == 1 and waits["cuMemcpyDtoH_v2"]["count"] == 1
    assert "cuLaunchKernel" not in waits, "a launch waits for nobody"
    for call in found["calls"]:
        assert call["p50Nanoseconds"] <= call["p95Nanoseconds"] <= call["p99Nanoseconds"] <= call["maxNanoseconds"]
    text = run([BITFUSION, "trace", file]).stdout
    assert "cuLaunchKernel" in text and "waits on the network" in text
    launch, = [event for event in exported(tmp_path, file) if event["name"] == "cuLaunchKernel"]
    assert launch["args"]["gridDimX"] == "391" and launch["args"]["blockDimX"] == "256"
    assert "add" in launch["args"]["kernel"] and launch["args"]["result"] == 0


def test_a_numba_program_as_chrome_shows_it(manager, tmp_path):
    script, file = tmp_path / "add.py", tmp_path / "trace"
    script.write_text(NUMBA)
    finished = traced(manager, [PYTHON, script], file)
    assert finished.returncode == 0, str(finished)
    found, _ = summary(file)
    calls = exported(tmp_path, file)
    assert len(calls) == found["callCount"]
    launches = [event for event in calls if event["name"].startswith("cuLaunchKernel")]
    assert len(launches) == 7, counts(found)
    assert all("add" in launch["args"]["kernel"] for launch in launches)
    assert all(event["ts"] >= 0 and event["dur"] >= 0 for event in calls)


def test_management_calls_are_recorded(manager, tmp_path):
    file = tmp_path / "trace"
    script = tmp_path / "count.py"
    script.write_text("import ctypes\nn = ctypes.CDLL('libnvidia-ml.so.1')\nn.nvmlInit_v2()\nc = ctypes.c_uint()\n"
                      "for _ in range(3): assert n.nvmlDeviceGetCount_v2(ctypes.byref(c)) == 0\n"
                      "import ctypes as t\nassert t.CDLL('libcuda.so.1').cuInit(0) == 0\n")
    finished = traced(manager, [PYTHON, script], file)
    assert finished.returncode == 0, str(finished)
    calls = counts(summary(file)[0])
    assert calls["nvmlDeviceGetCount_v2"] == 3 and calls["cuInit"] == 1, calls


def test_a_killed_program_leaves_a_trace_that_can_be_read(manager, tmp_path):
    file = tmp_path / "trace"
    running = Running(manager.command([PROGRAMS / "busy", "60", "16"]), environment(BITFUSION_TRACE=file))
    try:
        assert eventually(lambda: file.exists() and file.stat().st_size > 64, within=30), str(running.end())
        os.kill(program_below(running.pid, "busy"), signal.SIGKILL)
        running.wait()
        found, _ = summary(file)
        assert counts(found)["cuInit"] == 1
        # As a block that a full disk has cut.
        whole = file.read_bytes()
        file.write_bytes(whole[:-3])
        found, errors = summary(file)
        assert "cut off" in errors and len(errors.splitlines()) == 1
        assert counts(found)["cuInit"] == 1
    finally:
        running.end()


def test_children_have_files_of_their_own(manager, tmp_path):
    script, file = tmp_path / "forks.py", tmp_path / "trace"
    script.write_text(FORKS)
    finished = traced(manager, [PYTHON, script], file)
    assert finished.returncode == 0, str(finished)
    files = sorted(tmp_path.glob("trace*"))
    assert len(files) == 2 and files[1].name.startswith("trace."), files
    for name in files:
        assert counts(summary(name)[0])["cuInit"] == 1
    both, _ = summary(*files)
    assert counts(both)["cuInit"] == 2 and len(both["processes"]) == 2


def test_the_number_of_the_process_in_the_name(manager, tmp_path):
    finished = traced(manager, ["sh", "-c", f"{PROGRAMS}/vector_add; {PROGRAMS}/vector_add"], tmp_path / "trace-%p")
    assert finished.returncode == 0, str(finished)
    files = list(tmp_path.glob("trace-*"))
    assert len(files) == 2
    for file in files:
        process, = summary(file)[0]["processes"]
        assert file.name == f"trace-{process['pid']}"


def test_a_full_disk_ends_the_trace_and_not_the_program(manager, tmp_path):
    file = tmp_path / "trace"
    # 4 KiB; the program's own output goes to files that are smaller.
    script = tmp_path / "calls.py"
    script.write_text("import ctypes\nc = ctypes.CDLL('libcuda.so.1')\nc.cuInit(0)\nn = ctypes.c_int()\n"
                      "for _ in range(20000): assert c.cuDeviceGetCount(ctypes.byref(n)) == 0\nprint('done')\n")
    finished = traced(manager, ["bash", "-c", f"ulimit -f 4; exec {PYTHON} {script}"], file)
    assert finished.returncode == 0 and finished.stdout == "done\n", str(finished)
    lines = [line for line in finished.stderr.splitlines() if "trace" in line]
    assert len(lines) == 1 and "the trace ends here" in lines[0], str(finished)
    found, errors = summary(file)
    assert "cut off" in errors or counts(found) == {}


@pytest.mark.parametrize("content, words", [(b"dear all\n" * 20, "is not a call trace"), (b"", "is not a call trace")])
def test_what_is_no_trace_is_said_in_a_line(tmp_path, content, words):
    file = tmp_path / "letter"
    file.write_bytes(content)
    finished = run([BITFUSION, "trace", file])
    assert finished.returncode == 65 and words in finished.stderr and len(finished.stderr.splitlines()) == 1


def test_a_missing_file(tmp_path):
    finished = run([BITFUSION, "trace", tmp_path / "none"])
    assert finished.returncode == 66 and "No such file" in finished.stderr and len(finished.stderr.splitlines()) == 1


def test_another_file_is_not_overwritten(manager, tmp_path):
    file = tmp_path / "letter"
    file.write_text("dear all\n" * 20)
    finished = traced(manager, [PROGRAMS / "vector_add"], file)
    assert finished.returncode == 0 and "ok vector_add" in finished.stdout, str(finished)
    assert "is not overwritten" in finished.stderr and file.read_text() == "dear all\n" * 20
