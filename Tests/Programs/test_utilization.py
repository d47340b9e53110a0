# SPDX-License-Identifier: Apache-2.0
"""How busy GPUs are: measured by the software GPU, counted by the server's processes, shown by the client's."""
import json
import re
import signal

import pytest
from conftest import BITFUSION, NO_HANG, PATIENCE, PROGRAMS, PYTHON, ROOT, Manager, eventually, run
from test_management import NVIDIA_SMI, needs_nvidia_smi, smi

KEEP_BUSY = ROOT / "Tests" / "Programs" / "keep_busy.py"
# What kernels of a program that does nothing else take at least, also where cores are scarce.
BUSY_PERCENT = 50

# Runs the program and shows what nvidia-smi says while it is busy and when it is not any more. `pmon` asks for what was
# since the last full second but one, so that two seconds must have gone by.
SCRIPT = f"""
touch $1/out
{PYTHON} {KEEP_BUSY} 50 $1/stop >$1/out & pid=$!
until grep -q busy $1/out; do sleep 0.05; done
sleep 2.2
show() {{
    {NVIDIA_SMI} pmon -c 1 | sed 's/^/pmon /'
    {NVIDIA_SMI} dmon -c 1 | sed 's/^/dmon /'
    {NVIDIA_SMI} --query-gpu=utilization.gpu --format=csv,noheader,nounits | sed 's/^/query /'
}}
echo pid $pid
show
touch $1/stop
until grep -q idle $1/out; do sleep 0.05; done
sleep 2.2
echo after
show
touch $1/stop.end
wait
"""


def rows(text, tool):
    """The fields of a tool's lines, without the lines of headings."""
    lines = [line.split()[1:] for line in text.splitlines() if line.startswith(tool + " ")]
    return [fields for fields in lines if fields and not fields[0].startswith("#")]


@needs_nvidia_smi
def test_nvidia_smi_shows_how_busy_gpus_and_processes_are(manager, tmp_path):
    """F-NVSMI: `pmon`, `dmon` and `--query-gpu` while a program keeps one of two GPUs busy, and a while after."""
    finished = manager.run(["sh", "-c", SCRIPT, "sh", tmp_path], "-n", 2, "-m", 1024)
    assert finished.returncode == 0, str(finished)
    while_busy, _, after = finished.stdout.partition("after\n")
    pid = re.search(r"^pid (\d+)$", while_busy, re.M)[1]
    # gpu, pid, type, sm, mem, enc, dec, command; a GPU without processes has a line of dashes.
    first, second = rows(while_busy, "pmon")
    assert first[:3] == ["0", pid, "C"] and BUSY_PERCENT < int(first[3]) <= 100, str(finished)
    assert "python" in first[7] and second[1] == "-", str(finished)
    # gpu, power, two temperatures, sm, ...
    busy = [int(row[4]) for row in rows(while_busy, "dmon")]
    assert BUSY_PERCENT < busy[0] <= 100 and busy[1] == 0, str(finished)
    busy = [int(row[0]) for row in rows(while_busy, "query")]
    assert BUSY_PERCENT < busy[0] <= 100 and busy[1] == 0, str(finished)
    assert [row[4] for row in rows(after, "dmon")] == ["0", "0"], str(finished)
    assert rows(after, "query") == [["0"], ["0"]], str(finished)
    still = [row for row in rows(after, "pmon") if row[1] == pid]
    assert [row[3] for row in still] in (["0"], ["-"]), str(finished)


@pytest.fixture
def busy_server(cleanup, tmp_path):
    """A server of its own with a GPU that a program keeps busy, the program, and the file that stops it."""
    daemon = Manager("1x4096")
    stop = tmp_path / "stop"
    program = daemon.start([PYTHON, KEEP_BUSY, "50", stop], "-n", "1", "-m", "512")
    cleanup.append(program)
    program.wait_for_line("busy")
    yield daemon, program, stop
    program.end()
    daemon.stop()


def shown_by_stats(server, value="utilization_percent"):
    finished = run([BITFUSION, "stats", "-l", server.address, "--json"])
    assert finished.returncode == 0, str(finished)
    return json.loads(finished.stdout)["servers"][0]["status"]["gpus"][0][value]


def shown_by_smi(server):
    finished = run([BITFUSION, "smi", "-l", server.address])
    assert finished.returncode == 0, str(finished)
    found = re.search(r"(\d+)%\s*\|?\s*$|(\d+)%", finished.stdout, re.M)
    assert found, str(finished)
    return int(found[1] or found[2])


def test_smi_and_stats_show_how_busy_the_servers_gpus_are(busy_server):
    """CLI-50, CLI-51, CLI-78: more than half of the time while a program runs kernels, 0 % a while after."""
    server, program, stop = busy_server
    assert eventually(lambda: shown_by_stats(server) > BUSY_PERCENT, PATIENCE, every=0.5)
    assert eventually(lambda: shown_by_smi(server) > BUSY_PERCENT, PATIENCE, every=0.5)
    stop.touch()
    program.wait_for_line("idle")
    assert eventually(lambda: shown_by_stats(server) == 0, NO_HANG, every=0.5)
    assert shown_by_smi(server) == 0


OWN = """
import os, pynvml, subprocess, sys, time
child = subprocess.Popen([sys.executable, sys.argv[1], "50", sys.argv[2]], stdout=subprocess.PIPE, text=True)
assert child.stdout.readline() == "busy\\n"
time.sleep(1.2)
pynvml.nvmlInit()
device = pynvml.nvmlDeviceGetHandleByIndex(0)
since = int((time.time() - 1) * 1e6)
first = pynvml.nvmlDeviceGetProcessUtilization(device, since)
second = pynvml.nvmlDeviceGetProcessesUtilizationInfo(device, since)
for samples in (first, second):
    assert [sample.pid for sample in samples] == [child.pid], (samples, child.pid)
    assert 50 < samples[0].smUtil <= 100 and samples[0].timeStamp > since, samples
try:
    pynvml.nvmlDeviceGetProcessUtilization(device, first[0].timeStamp + 10**9)
except pynvml.NVMLError_NotFound:
    print("nothing newer")
open(sys.argv[2], "w").close()
open(sys.argv[2] + ".end", "w").close()
child.wait()
"""


def test_both_forms_of_the_list_of_processes(manager, tmp_path):
    """By the client's own numbers, and only what is newer than the caller has seen."""
    finished = manager.run([PYTHON, "-c", OWN, KEEP_BUSY, tmp_path / "stop"], "-n", 1, "-m", 512)
    assert finished.returncode == 0 and finished.stdout == "nothing newer\n", str(finished)


OTHERS = """
import pynvml, time
# The use of a GPU is that of a whole second.
time.sleep(1.2)
pynvml.nvmlInit()
device = pynvml.nvmlDeviceGetHandleByIndex(0)
print(pynvml.nvmlDeviceGetUtilizationRates(device).gpu)
try:
    print(pynvml.nvmlDeviceGetProcessUtilization(device, 0))
except pynvml.NVMLError as error:
    print(type(error).__name__)
print(len(pynvml.nvmlDeviceGetComputeRunningProcesses(device)))
"""


def test_others_processes_are_not_shown(busy_server):
    """The GPU is as busy as all make it; whose processes do that is seen in their own allocation only."""
    server, _, _ = busy_server
    seen = server.run([PYTHON, "-c", OTHERS], "-n", 1, "-m", 512)
    percent, processes, running = seen.stdout.splitlines()
    assert int(percent) > BUSY_PERCENT and processes == "NVMLError_NotFound" and running == "0", str(seen)


def test_a_kernel_that_never_ends_is_busy(cleanup):
    """Also before it ends; when its process is killed, nothing is busy."""
    server = Manager("1x4096")
    try:
        program = server.start([PROGRAMS / "endless"], "-n", "1")
        cleanup.append(program)
        program.wait_for_line("waiting")
        assert eventually(lambda: shown_by_stats(server) > BUSY_PERCENT, PATIENCE, every=0.5)
        program.process.send_signal(signal.SIGKILL)
        assert eventually(lambda: shown_by_stats(server) == 0, NO_HANG, every=0.5)
    finally:
        server.stop()


def test_memory_of_the_whole_gpu(busy_server):
    """`stats` shows what all programs use of a software GPU, whatever their partitions are."""
    server, _, _ = busy_server
    assert shown_by_stats(server, "used_mib") < 200
    holder = server.start([PROGRAMS / "busy", "60", "200"], "-n", "1", "-m", "512")
    try:
        holder.wait_for_line("started")
        assert eventually(lambda: 200 <= shown_by_stats(server, "used_mib") < 230, NO_HANG, every=0.5)
    finally:
        holder.end()
    assert eventually(lambda: shown_by_stats(server, "used_mib") < 200, NO_HANG, every=0.5)
