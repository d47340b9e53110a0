# SPDX-License-Identifier: Apache-2.0
"""How client and worker talk: by shared memory on one machine, chosen by itself, and over the connection otherwise."""
import os
import pathlib
import signal
import sys
import time

import pytest
from conftest import BITFUSION, NO_HANG, Running, environment, eventually, program_below

# Makes a context and a call that waits, says so, and then does nothing.
IDLE = """
import ctypes, sys, time
cuda = ctypes.CDLL("libcuda.so.1")
context, free, total = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
for code in (cuda.cuInit(0), cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0), cuda.cuCtxSetCurrent(context),
             cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))):
    if code: sys.exit(code)
print("idle", flush=True)
time.sleep(60)
"""


@pytest.fixture
def idle(cleanup, shared_gpu):
    """Starts the idle program; returns its process and its worker's."""

    def start(**changes):
        command = shared_gpu.command([sys.executable, "-c", IDLE])
        running = Running(command, environment(**changes))
        cleanup.append(running)
        running.wait_for_line("idle")
        program = program_below(running.pid, pathlib.Path(sys.executable).resolve().name)
        worker = shared_gpu.worker_serving(program)
        assert worker is not None
        return program, worker

    return start


def shares_memory(pid):
    return "bitfusion rings" in pathlib.Path(f"/proc/{pid}/maps").read_text()


def ticks(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_shared_memory_is_chosen_on_one_machine(idle, monkeypatch):
    monkeypatch.delenv("BITFUSION_TRANSPORT", raising=False)
    assert all(shares_memory(pid) for pid in idle())


def test_tcp_can_be_demanded(idle):
    assert not any(shares_memory(pid) for pid in idle(BITFUSION_TRANSPORT="tcp"))


def test_local_shares_memory(cleanup, monkeypatch):
    monkeypatch.delenv("BITFUSION_TRANSPORT", raising=False)
    running = Running([BITFUSION, "local", "--soft-gpu", "1x64", "--", sys.executable, "-c", IDLE])
    cleanup.append(running)
    running.wait_for_line("idle")
    assert shares_memory(program_below(running.pid, pathlib.Path(sys.executable).resolve().name))


def test_nobody_works_while_nothing_travels(idle, transport):
    """Both ends poll for a bounded time and sleep then."""
    processes = idle()
    assert all(shares_memory(pid) == (transport == "shm") for pid in processes)
    time.sleep(0.2)
    before = [ticks(pid) for pid in processes]
    time.sleep(1)
    # A tick is 10 ms; what polls uses a hundred.
    assert all(after - start <= 1 for start, after in zip(before, map(ticks, processes)))


def test_the_memory_goes_with_the_program(idle):
    program, worker = idle(BITFUSION_TRANSPORT="shm")
    os.kill(program, signal.SIGKILL)
    assert eventually(lambda: not pathlib.Path(f"/proc/{worker}").exists(), NO_HANG), "the worker stays"


def test_a_transport_that_does_not_exist_is_told(shared_gpu):
    finished = Running(
        shared_gpu.command([sys.executable, "-c", IDLE]), environment(BITFUSION_TRANSPORT="pigeon")).wait(NO_HANG)
    assert finished.returncode != 0
    assert "BITFUSION_TRANSPORT is 'auto', 'tcp' or 'shm', not 'pigeon'" in finished.stderr, str(finished)
