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
    assert "Unknown Error" not in finished.stdout and "Invalid Argument" not in finished.stdout, str(finished)
    document = smi(manager, "-q", "-x")
    assert document.returncode == 0, str(document)
    root = xml.etree.ElementTree.fromstring(document.stdout)
    assert root.findtext("attached_gpus") == "2"
    assert [gpu.findtext("fb_memory_usage/total") for gpu in root.iter("gpu")] == ["1024 MiB", "1024 MiB"]
    queried = smi(manager, "--query-gpu=index,name,memory.total,driver_version", "--format=csv,noheader")
    assert queried.stdout.splitlines() == [f"{n}, Bitfusion Soft GPU, 1024 MiB, 575.00.00" for n in range(2)], str(queried)


@needs_nvidia_smi
def test_its_tables_over_time(manager):
    """`dmon` has a line for each GPU, `pmon` at least that none of its figures is known, and both end."""
    watched = smi(manager, "dmon", "-c", "1")
    rows = [line.split() for line in watched.stdout.splitlines() if not line.startswith("#")]
    assert watched.returncode == 0 and [row[0] for row in rows] == ["0", "1"], str(watched)
    # sm and mem are the utilisation; a software GPU has neither power nor clocks.
    assert [row[4:6] for row in rows] == [["0", "0"]] * 2 and {row[1] for row in rows} == {"-"}, str(watched)
    processes = smi(manager, "pmon", "-c", "1")
    assert processes.returncode == 0 and "pid" in processes.stdout, str(processes)


@needs_nvidia_smi
def test_its_matrix_of_connections(manager):
    """The software GPUs are in one node of one machine; whose processors are near them is not the client's concern."""
    finished = smi(manager, "topo", "-m")
    assert finished.returncode == 0, str(finished)
    rows = [line.split() for line in finished.stdout.splitlines() if re.match(r"GPU\d", line)]
    assert rows == [["GPU0", "X", "NODE", "N/A"], ["GPU1", "NODE", "X", "N/A"]], str(finished)


@needs_nvidia_smi
def test_its_table_lists_the_allocations_processes(manager, tmp_path):
    """Processes of the same allocation, by the client's pids; those of other allocations are not shown."""
    script = (f"{PROGRAMS}/busy 60 64 $1/stop >$1/out & echo $!; "
              f"while ! grep -q started $1/out; do sleep 0.05; done; {NVIDIA_SMI}; {NVIDIA_SMI} -q -x; touch $1/stop; wait")
    finished = manager.run(["sh", "-c", script, "sh", tmp_path], "-n", 1, "-m", 1024)
    pid, _, shown = finished.stdout.partition("\n")
    assert re.search(rf"\|    0   N/A  N/A +{pid} +C   \S*busy +6\dMiB \|", shown), str(finished)
    root = xml.etree.ElementTree.fromstring(shown[shown.index("<?xml"):])
    found = [(process.findtext("pid"), process.findtext("type")) for process in root.iter("process_info")]
    assert found == [(pid, "C")], str(finished)
    assert "No running processes found" in smi(manager).stdout


@needs_nvidia_smi
def test_it_runs_on_the_software_gpu_itself():
    finished = run([NVIDIA_SMI, "-L"], environment(LD_LIBRARY_PATH=SOFT, BITFUSION_SOFT_GPU="3x512"))
    assert finished.returncode == 0 and len(finished.stdout.splitlines()) == 3, str(finished)


def test_without_nvidia_smi_there_is_a_table_of_our_own(manager):
    """CLI-24: the same values, and a line on standard error that says what it is."""
    def ours(*words):
        command = [BITFUSION, "run", "-l", manager.address, "--quiet", "-n", "2", "-m", "1024", "--", "nvidia-smi", *words]
        return run(command, environment(PATH="/nowhere"))

    table = ours()
    assert table.returncode == 0 and table.stderr.count("\n") == 1 and "not installed" in table.stderr, str(table)
    assert len(re.findall(r"\|\s+0MiB /\s+1024MiB \|", table.stdout)) == 2 and "575.00.00" in table.stdout, str(table)
    assert len({len(line) for line in table.stdout.splitlines()}) == 1, str(table)
    listed = ours("-L")
    assert listed.returncode == 0 and len(re.findall(r"UUID: GPU-", listed.stdout)) == 2, str(listed)
    assert ours("--no-such-option").returncode != 0


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
