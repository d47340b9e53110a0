# SPDX-License-Identifier: Apache-2.0
"""The management library's connection to its server: after fork(), and when it breaks."""
import os
import signal

import pytest
from conftest import NO_HANG, PATIENCE, PYTHON, eventually

FORK = """
import os, pynvml, threading
pynvml.nvmlInit()
device = pynvml.nvmlDeviceGetHandleByIndex(0)

def sockets():
    names = []
    for number in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            pass
    return {name for name in names if name.startswith("socket:")}

def ask(times):
    for _ in range(times):
        assert pynvml.nvmlDeviceGetMemoryInfo(device).total == 1024 << 20
        assert pynvml.nvmlDeviceGetName(device) == "Bitfusion Soft GPU"

ask(1)
own = sockets()
assert len(own) == 1
# Threads ask while the process forks, so that a child is made in the middle of questions.
ends = False
def without_end():
    while not ends:
        ask(1)
threads = [threading.Thread(target=without_end) for _ in range(3)]
for thread in threads:
    thread.start()
children = []
for _ in range(5):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            ask(50)
            made = sockets()
            assert len(made) == 1 and not made & own, (own, made)
            pynvml.nvmlShutdown()
            assert not sockets()
            pynvml.nvmlInit()
            ask(5)
            status = 0
        finally:
            os._exit(status)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 5
ends = True
for thread in threads:
    thread.join()
ask(5)
assert sockets() == own
print("undisturbed")
"""


def test_a_forked_child_has_a_connection_of_its_own(manager):
    """Without disturbing its parent's, whose other threads ask at the same time."""
    finished = manager.run([PYTHON, "-W", "ignore::DeprecationWarning", "-c", FORK], "-n", 1, "-m", 1024)
    assert finished.returncode == 0 and finished.stdout == "undisturbed\n", str(finished)


WATCH = """
import os, pynvml, sys, time
pynvml.nvmlInit()
device = pynvml.nvmlDeviceGetHandleByIndex(0)

def outcome(function, *arguments):
    try:
        function(*arguments)
        return "ok"
    except pynvml.NVMLError as error:
        return type(error).__name__

assert pynvml.nvmlDeviceGetName(device)
# It goes on when the command that started it is gone.
os.setsid()
print("pid", os.getpid(), flush=True)
last = None
while not os.path.exists(sys.argv[1]):
    now = outcome(pynvml.nvmlDeviceGetUtilizationRates, device)
    if now != last:
        print(now, flush=True)
        last = now
    if now != "ok":
        break
    time.sleep(0.02)
# What never changes is known.
print("name", outcome(pynvml.nvmlDeviceGetName, device))
print("shutdown", outcome(pynvml.nvmlShutdown))
print("again", outcome(pynvml.nvmlInit))
print("then", outcome(pynvml.nvmlDeviceGetUtilizationRates, device), flush=True)
"""


@pytest.fixture
def watcher(shared_gpu, cleanup, tmp_path):
    """A server, a program that asks for a GPU's state again and again, its number, and the file that stops it."""
    stop = tmp_path / "stop"
    program = shared_gpu.start([PYTHON, "-c", WATCH, stop], "-n", 1, "-m", 512)
    cleanup.append(program)
    program.wait_for_line("ok")
    pid = int(program.output_so_far().split()[1])
    yield shared_gpu, program, pid, stop
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def lines(program, last):
    """What it has printed when a line beginning so is there."""
    assert eventually(lambda: last in program.output_so_far(), PATIENCE), program.output_so_far()
    return program.output_so_far().splitlines()[1:]


def test_a_worker_that_ends_is_replaced(watcher):
    """Questions change nothing, so they may be put again: the program notices nothing as long as the allocation is there."""
    server, program, pid, stop = watcher
    for _ in range(3):
        worker = server.worker_serving(pid)
        os.kill(worker, signal.SIGKILL)
        assert eventually(lambda: server.worker_serving(pid) not in (None, worker), NO_HANG)
    stop.touch()
    assert lines(program, "then") == ["ok", "name ok", "shutdown ok", "again ok", "then ok"]


def test_when_the_allocation_has_ended_the_gpu_is_lost(watcher):
    """Soon, and with a result code that tools have words for; the next nvmlInit finds no driver."""
    server, program, pid, stop = watcher
    os.kill(program.pid, signal.SIGKILL)
    assert eventually(lambda: "Lost" in program.output_so_far(), NO_HANG * 2), program.output_so_far()
    assert lines(program, "then") == [
        "ok", "NVMLError_GpuIsLost", "name ok", "shutdown ok", "again NVMLError_DriverNotLoaded",
        "then NVMLError_Uninitialized"]


def test_when_the_server_is_gone_the_gpu_is_lost(watcher):
    server, program, pid, stop = watcher
    os.kill(server.running.pid, signal.SIGKILL)
    assert lines(program, "then")[:2] == ["ok", "NVMLError_GpuIsLost"]
    assert lines(program, "then")[-2:] == ["again NVMLError_DriverNotLoaded", "then NVMLError_Uninitialized"]
