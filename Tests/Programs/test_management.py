# SPDX-License-Identifier: Apache-2.0
"""Management tools, unmodified, on GPUs of the pool: they see what was allocated and nothing else."""
import json
import os
import pty
import re
import select
import signal
import subprocess
import time
import xml.etree.ElementTree

import pytest
from conftest import BITFUSION, NO_HANG, PROGRAMS, PYTHON, ROOT, SOFT, environment, eventually, run

TOOLS = ROOT / ".build" / "tools" / "bin"
NVIDIA_SMI = TOOLS / "nvidia-smi"

needs_nvidia_smi = pytest.mark.skipif(
    not NVIDIA_SMI.exists(), reason="scripts/management-tools could not fetch nvidia-smi from Debian's archive")


def smi(manager, *words, options=("-n", 2, "-m", 1024)):
    return manager.run([NVIDIA_SMI, *words], *options)


# MARK: nvidia-smi

@needs_nvidia_smi
def test_the_table_shows_the_partition(manager):
    """CLI-24, CLI-27, F-NVSMI: 0MiB / 1024MiB, the server's driver, no processes."""
    finished = smi(manager, options=("-n", 1, "-m", 1024))
    assert finished.returncode == 0, str(finished)
    assert re.search(r"NVIDIA-SMI 535\.\S+ +Driver Version: 575\.00\.00 +CUDA Version: 13\.5", finished.stdout)
    assert re.search(r"\|\s+0MiB /\s+1024MiB \|", finished.stdout), str(finished)
    assert "No running processes found" in finished.stdout
    assert finished.stdout.count("Bitfusion Soft GPU") == 1


@needs_nvidia_smi
def test_two_gpus_have_addresses_of_their_own(manager):
    """CLI-07."""
    finished = smi(manager)
    assert len(set(re.findall(r"00000000:[0-9A-F]{2}:00\.0", finished.stdout))) == 2, str(finished)
    listed = smi(manager, "-L")
    assert listed.returncode == 0 and len(set(re.findall(r"UUID: (GPU-\S+)\)", listed.stdout))) == 2, str(listed)


@needs_nvidia_smi
def test_used_memory_is_the_allocations(manager):
    """CLI-33, CLI-34: what the other applications of the same allocation use counts, what other allocations use does not."""
    query = f"{NVIDIA_SMI} --query-gpu=memory.used,memory.total --format=csv,noheader,nounits"
    script = (f"{PROGRAMS}/busy 60 200 $1 >/dev/null & "
              f"for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.3; {query}; done; touch $1; wait")
    stop = f"/tmp/bitfusion-test-stop-{os.getpid()}"
    try:
        finished = manager.run(["sh", "-c", script, "sh", stop], "-n", 1, "-m", 1024)
    finally:
        if os.path.exists(stop):
            os.unlink(stop)
    assert finished.returncode == 0, str(finished)
    assert "200, 1024" in finished.stdout.splitlines(), str(finished)
    assert smi(manager, "--query-gpu=memory.used", "--format=csv,noheader", options=("-n", 1, "-m", 99)).stdout == "0 MiB\n"


@needs_nvidia_smi
def test_everything_about_a_gpu(manager):
    finished = smi(manager, "-q")
    assert finished.returncode == 0 and finished.stdout.count("Product Name") == 2, str(finished)
    assert "Unknown Error" not in finished.stdout
    document = smi(manager, "-q", "-x")
    assert document.returncode == 0, str(document)
    root = xml.etree.ElementTree.fromstring(document.stdout)
    assert root.findtext("attached_gpus") == "2"
    assert [gpu.findtext("fb_memory_usage/total") for gpu in root.iter("gpu")] == ["1024 MiB", "1024 MiB"]
    queried = smi(manager, "--query-gpu=index,name,memory.total,driver_version", "--format=csv,noheader")
    assert queried.stdout.splitlines() == [f"{n}, Bitfusion Soft GPU, 1024 MiB, 575.00.00" for n in range(2)], str(queried)


@needs_nvidia_smi
@pytest.mark.parametrize("words", [["pmon", "-c", "1"], ["dmon", "-c", "1"], ["topo", "-m"]], ids=lambda words: words[0])
def test_what_needs_nvidias_private_table_is_refused_in_order(manager, words):
    """These ask libnvidia-ml.so.1 for functions outside its public interface: the tool says so and ends."""
    finished = smi(manager, *words)
    assert finished.seconds < NO_HANG and re.search("(?i)not supported|failed", finished.stdout), str(finished)


@needs_nvidia_smi
def test_it_runs_on_the_software_gpu_itself():
    finished = run([NVIDIA_SMI, "-L"], environment(LD_LIBRARY_PATH=SOFT, BITFUSION_SOFT_GPU="3x512"))
    assert finished.returncode == 0 and len(finished.stdout.splitlines()) == 3, str(finished)


# MARK: Other tools

def test_gpustat(manager):
    finished = manager.run([PYTHON, "-m", "gpustat", "--json"], "-n", 2, "-m", 1024)
    assert finished.returncode == 0, str(finished)
    gpus = json.loads(finished.stdout)["gpus"]
    assert [(gpu["memory.total"], gpu["memory.used"]) for gpu in gpus] == [(1024, 0), (1024, 0)]


def test_nvitop(manager):
    finished = manager.run([PYTHON, "-m", "nvitop", "-1", "--no-unicode"], "-n", 1, "-m", 1024)
    assert finished.returncode == 0 and "0B / 1024MiB" in finished.stdout, str(finished)


PROCESSES = """
import ctypes, os, pynvml
pynvml.nvmlInit()
device = pynvml.nvmlDeviceGetHandleByIndex(0)
assert pynvml.nvmlDeviceGetComputeRunningProcesses(device) == []
cuda = ctypes.CDLL("libcuda.so.1")
context, memory, free, total = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
assert cuda.cuInit(0) == 0 and cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
assert cuda.cuCtxSetCurrent(context) == 0
assert cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(100 << 20)) == 0
assert cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)) == 0
info = pynvml.nvmlDeviceGetMemoryInfo(device)
assert (info.total, info.free) == (total.value, free.value), (info, total, free)
found = pynvml.nvmlDeviceGetComputeRunningProcesses(device)
assert [process.pid for process in found] == [os.getpid()], found
assert found[0].usedGpuMemory >= 100 << 20
print(pynvml.nvmlSystemGetProcessName(os.getpid()))
"""


def test_processes_are_the_clients_own_and_agree_with_cuda(manager):
    """The CUDA driver and the management library tell the same of the memory, and pids are those of this machine."""
    finished = manager.run([PYTHON, "-c", PROCESSES], "-n", 1, "-m", 1024)
    assert finished.returncode == 0 and "python" in finished.stdout, str(finished)


@pytest.mark.skipif(not (TOOLS / "nvtop").exists(), reason="scripts/management-tools could not fetch nvtop")
def test_nvtop(manager):
    """Draws on a terminal until q is pressed."""
    libraries = subprocess.run(["ldd", TOOLS / "nvtop"], capture_output=True, text=True).stdout
    if "not found" in libraries:
        pytest.skip("nvtop's libraries are not installed")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(BITFUSION, [str(word) for word in manager.command([TOOLS / "nvtop"], "-n", 1, "-m", 1024)],
                  environment(TERM="xterm", LINES="40", COLUMNS="120"))
    drawn = b""
    deadline = time.monotonic() + NO_HANG * 2
    while b"Bitfusion Soft GPU" not in drawn and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            drawn += os.read(terminal, 65536)
    os.write(terminal, b"q")
    ended = eventually(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, NO_HANG)
    if not ended:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert b"Bitfusion Soft GPU" in drawn and ended, drawn[-2000:]


# MARK: Without a pool

def test_without_a_ticket_there_is_no_driver():
    """Loaded outside of `run`, the library says what a machine without a driver says, and prints nothing."""
    script = "import pynvml\ntry: pynvml.nvmlInit()\nexcept pynvml.NVMLError as error: print(type(error).__name__)"
    from conftest import CLIENT
    finished = run([PYTHON, "-c", script], environment(LD_LIBRARY_PATH=CLIENT))
    assert finished.stdout.strip() in ("NVMLError_DriverNotLoaded", "NVMLError_LibraryNotFound"), str(finished)


def test_values_of_the_server_for_smi_and_stats(manager):
    """CLI-50, CLI-51, CLI-78: the driver's version and the memory in use come from the management library."""
    finished = run([BITFUSION, "stats", "-l", manager.address, "--json"])
    assert finished.returncode == 0, str(finished)
    assert "575.00.00" in finished.stdout and '"used_mib"' in finished.stdout, str(finished)
    assert "Driver Version: 575.00.00" in run([BITFUSION, "smi", "-l", manager.address]).stdout
