# SPDX-License-Identifier: Apache-2.0
"""`bitfusion run`, row by row of the acceptance list."""
import json
import re

import pytest
from conftest import BITFUSION, FREED_WITHIN, NO_HANG, PROGRAMS, PYTHON, Running, environment, eventually, run

USAGE, NO_GPUS = 64, 75

# What a program sees of its GPUs, through the driver library that `run` gives it.
SHOW = """
import ctypes, json
cuda = ctypes.CDLL("libcuda.so.1")
assert cuda.cuInit(0) == 0
count = ctypes.c_int()
assert cuda.cuDeviceGetCount(ctypes.byref(count)) == 0
found = []
for device in range(count.value):
    total, bus = ctypes.c_size_t(), ctypes.create_string_buffer(32)
    assert cuda.cuDeviceTotalMem_v2(ctypes.byref(total), device) == 0
    assert cuda.cuDeviceGetPCIBusId(bus, 32, device) == 0
    found.append([total.value >> 20, bus.value.decode()])
print(json.dumps(found))
"""


def seen(manager, *options):
    """(MiB, PCI address) of each GPU that a program is given."""
    finished = manager.run([PYTHON, "-c", SHOW], *options)
    assert finished.returncode == 0, str(finished)
    return json.loads(finished.stdout)


def shell_line(manager, line, *options):
    return run([BITFUSION, "run", "-l", manager.address, "-n", "1", *options, line])


def test_words_after_the_options_are_argv(manager):
    """CLI-01: no shell, the environment and the folder are the caller's."""
    script = "import os, sys; print(sys.argv[1:], os.environ['MARK'], os.getcwd())"
    for separator in (["--"], []):
        words = [PYTHON, "-c", script, "a b", "$HOME", "*"]
        finished = run([BITFUSION, "run", "-l", manager.address, "-n", "1", *separator, *words],
                       environment(MARK="kept"), cwd="/")
        assert finished.stdout == "['a b', '$HOME', '*'] kept /\n", f"{separator}: {finished}"


def test_one_word_with_spaces_is_a_command_line(manager):
    """CLI-02: the shell reads it, and its status is the application's."""
    finished = shell_line(manager, "printf '%s-' one 'two three'")
    assert finished.stdout == "one-two three-" and finished.returncode == 0, str(finished)
    assert shell_line(manager, "sh -c 'exit 7'").returncode == 7


def test_the_number_of_gpus_is_wanted(manager):
    """CLI-03: without -n nothing is allocated and the message names the option."""
    finished = run([BITFUSION, "run", "-l", manager.address, "--", "true"], timeout=NO_HANG)
    assert finished.returncode == USAGE and "-n" in finished.stderr, str(finished)
    assert run([BITFUSION, "run", "-l", manager.address, "--num_gpus", "1", "--", "true"]).returncode == 0


def test_a_whole_gpu_is_nobody_elses(shared_gpu, cleanup):
    """CLI-06: all of the memory, and nobody beside it."""
    assert seen(shared_gpu, "-n", 1)[0][0] == 4096
    owner = shared_gpu.start(["sleep", "60"], "-n", 1)
    cleanup.append(owner)
    assert eventually(lambda: shared_gpu.free_mebibytes() == [0], NO_HANG)
    refused = shared_gpu.run(["true"], "-n", 1, "-m", 1, "-t", 0)
    assert refused.returncode == NO_GPUS, str(refused)


def test_several_gpus_are_distinct_devices_of_one_server(manager):
    """CLI-06, CLI-07, CLI-08: as many devices as asked for, with addresses of their own."""
    gpus = seen(manager, "-n", 2)
    assert [mebibytes for mebibytes, _ in gpus] == [4096, 4096]
    assert len({bus for _, bus in gpus}) == 2


@pytest.mark.parametrize("options, mebibytes", [
    (["-m", 1000], 1000), (["--memory", 1], 1), (["-p", 0.37], 1515), (["--partial", 1.0], 4096), (["-p", 0.66], 2703),
    (["-p", 0.0001], 1)])
def test_sizes_of_partitions(manager, options, mebibytes):
    """CLI-12, CLI-16, CLI-17, CLI-20: MiB, or a share of the memory, rounded down."""
    assert seen(manager, "-n", 1, *options)[0][0] == mebibytes


def test_a_partition_of_each_of_several_gpus(manager):
    """CLI-21, CLI-22: the same on each GPU."""
    assert [mebibytes for mebibytes, _ in seen(manager, "-n", 2, "-p", 0.33)] == [1351, 1351]


def test_a_whole_number_as_a_share_is_taken_as_mebibytes(manager):
    """CLI-18: the guide's misprint works, with a notice that names -m."""
    finished = manager.run([PYTHON, "-c", SHOW], "-n", 1, "-p", 500)
    assert finished.returncode == 0 and json.loads(finished.stdout)[0][0] == 500, str(finished)
    assert "-m 500" in finished.stderr
    refused = manager.run(["true"], "-n", 1, "-p", "1.5")
    assert refused.returncode == USAGE, str(refused)


def test_partitions_end_with_their_applications(shared_gpu, cleanup):
    """CLI-13, CLI-15, CLI-23: two applications share the only GPU, both compute, and afterwards it is whole."""
    started = [shared_gpu.start([PROGRAMS / "busy", 1, 64], "-n", 1, "-p", share) for share in ("0.66", "0.33")]
    cleanup.extend(started)
    for running in started:
        running.wait_for_line("started")
    assert shared_gpu.free_mebibytes() == [4096 - 2703 - 1351]
    for running in started:
        finished = running.wait(NO_HANG * 2)
        assert finished.returncode == 0 and finished.stdout.endswith("ok busy\n"), str(finished)
    assert eventually(shared_gpu.is_idle, FREED_WITHIN)


BANNER = "Requested resources:\nServer List: {address}\nClient idle timeout: 0 min\n"


def test_the_banner(manager):
    """CLI-05, CLI-25, CLI-26: three lines on standard error, before the application's own; --quiet drops them."""
    finished = run([BITFUSION, "run", "-l", manager.address, "-n", "1", "--", "sh", "-c", "echo out; echo err >&2"])
    assert finished.stdout == "out\n" and finished.stderr == BANNER.format(address=manager.address) + "err\n"
    assert manager.run(["true"], "-n", 1).stderr == ""


@pytest.mark.parametrize("time, seconds", [("1", 1), ("2s", 2), ("0", 0)])
def test_how_long_it_waits(shared_gpu, cleanup, time, seconds):
    """CLI-09, CLI-10, CLI-11: seconds with or without their unit; 0 does not wait. Minutes and hours: WaitTimeTests."""
    owner = shared_gpu.start(["sleep", "60"], "-n", 1)
    cleanup.append(owner)
    assert eventually(lambda: shared_gpu.free_mebibytes() == [0], NO_HANG)
    for option in ("-t", "--timeout"):
        finished = shared_gpu.run(["true"], "-n", 1, option, time)
        assert finished.returncode == NO_GPUS and seconds <= finished.seconds < seconds + NO_HANG, str(finished)
        assert shared_gpu.address in finished.stderr and finished.stderr.count("\n") == 1, str(finished)


def test_while_it_waits_it_says_where_it_stands(shared_gpu, cleanup):
    """CLI-09, CLI-25: position, reason and the time that is left, and the new position when it moves up."""
    owner = shared_gpu.start(["sleep", "60"], "-n", 1)
    cleanup.append(owner)
    assert eventually(lambda: shared_gpu.free_mebibytes() == [0], NO_HANG)
    waiting = []
    for count in (1, 2):
        waiting.append(Running([BITFUSION, "run", "-l", shared_gpu.address, "-n", "1", "-t", "10m", "--", "sleep", "60"]))
        cleanup.append(waiting[-1])
        assert eventually(lambda: shared_gpu.gpus()["waiting_tasks"] == count, NO_HANG)
    line = re.compile(r"Waiting for 1 GPU at \S+: position (\d), .+; (\S+) left")
    assert eventually(lambda: line.search(waiting[1].errors_so_far()), NO_HANG)
    position, left = line.search(waiting[1].errors_so_far()).groups()
    assert position == "2" and re.match(r"10m|9m5\ds", left)
    waiting[0].process.terminate()
    assert eventually(lambda: "position 1" in waiting[1].errors_so_far(), NO_HANG)
    assert waiting[0].wait(NO_HANG).returncode in (128 + 15, -15)
