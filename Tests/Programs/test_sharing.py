# SPDX-License-Identifier: Apache-2.0
"""Several programs on one GPU: partitions hold, and the end of one is no concern of the other.

ARC-13, ARC-14, ARC-18, CLI-14: a process, a socket and a partition for each; the memory comes back however one ends.
"""
import os
import signal

import pytest
from conftest import FREED_WITHIN, NO_HANG, PROGRAMS, eventually, program_below

PARTITION = 1024


def start_busy(daemon, cleanup, stop="never"):
    """A busy program in a partition, past its first round of work; it ends in order when the file `stop` exists."""
    running = daemon.start([PROGRAMS / "busy", 60, 64, stop], "-n", 1, "-m", PARTITION)
    cleanup.append(running)
    running.wait_for_line("started")
    return running


@pytest.fixture
def stop(tmp_path):
    """The file that ends the undisturbed programs of a test."""
    return tmp_path / "stop"


def expect_undisturbed(running, stop):
    """The program still runs, and its numbers are right to the end."""
    assert running.process.poll() is None, str(running.end())
    stop.touch()
    finished = running.wait(NO_HANG * 2)
    assert finished.returncode == 0 and finished.stdout.endswith("ok busy\n"), str(finished)


def expect_freed(daemon, mebibytes):
    freed = eventually(lambda: daemon.free_mebibytes() == [mebibytes], FREED_WITHIN)
    assert freed, f"{daemon.gpus()} after {FREED_WITHIN} s, expected {mebibytes} MiB free"


def test_two_programs_at_once(shared_gpu, cleanup, stop):
    first, second = start_busy(shared_gpu, cleanup, stop), start_busy(shared_gpu, cleanup, stop)
    assert shared_gpu.free_mebibytes() == [4096 - 2 * PARTITION]
    assert shared_gpu.gpus()["running_tasks"] == 2
    expect_undisturbed(first, stop)
    second.wait(NO_HANG * 2)
    expect_freed(shared_gpu, 4096)


def test_kill_of_a_program(shared_gpu, cleanup, stop, transport):
    victim, other = start_busy(shared_gpu, cleanup), start_busy(shared_gpu, cleanup, stop)
    os.kill(program_below(victim.pid, "busy"), signal.SIGKILL)
    expect_freed(shared_gpu, 4096 - PARTITION)
    assert victim.wait(NO_HANG).returncode == 128 + 9
    expect_undisturbed(other, stop)
    expect_freed(shared_gpu, 4096)


def test_kill_of_the_run_command(shared_gpu, cleanup, stop, transport):
    victim, other = start_busy(shared_gpu, cleanup), start_busy(shared_gpu, cleanup, stop)
    program = program_below(victim.pid, "busy")
    os.kill(victim.pid, signal.SIGKILL)
    expect_freed(shared_gpu, 4096 - PARTITION)
    ended = eventually(lambda: not os.path.exists(f"/proc/{program}"), NO_HANG)
    if not ended:
        os.kill(program, signal.SIGKILL)
    assert ended, "the program went on without its allocation"
    expect_undisturbed(other, stop)


def test_kill_of_a_worker(shared_gpu, cleanup, stop, transport):
    victim, other = start_busy(shared_gpu, cleanup), start_busy(shared_gpu, cleanup, stop)
    worker = shared_gpu.worker_serving(program_below(victim.pid, "busy"))
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    finished = victim.wait(NO_HANG)
    assert finished.returncode == 1 and finished.stderr.strip(), str(finished)
    expect_freed(shared_gpu, 4096 - PARTITION)
    expect_undisturbed(other, stop)


def test_illegal_address_beside_another(shared_gpu, cleanup, stop):
    other = start_busy(shared_gpu, cleanup, stop)
    finished = shared_gpu.run([PROGRAMS / "illegal_address"], "-n", 1, "-m", PARTITION)
    assert finished.returncode == 0, str(finished)
    expect_freed(shared_gpu, 4096 - PARTITION)
    expect_undisturbed(other, stop)


def test_partition_is_what_the_program_sees(manager):
    finished = manager.run([PROGRAMS / "memory_limit", 1024], "-n", 1, "-m", 1024)
    assert finished.returncode == 0, str(finished)


def test_share_is_what_the_program_sees(manager):
    finished = manager.run([PROGRAMS / "memory_limit", 2048], "-n", 1, "-p", "0.5")
    assert finished.returncode == 0, str(finished)


def test_a_worker_is_a_process_of_its_own(shared_gpu, cleanup, stop):
    first, second = start_busy(shared_gpu, cleanup, stop), start_busy(shared_gpu, cleanup, stop)
    workers = {shared_gpu.worker_serving(program_below(running.pid, "busy")) for running in (first, second)}
    assert None not in workers and len(workers) == 2
    expect_undisturbed(first, stop)
    assert second.wait(NO_HANG * 2).returncode == 0
    gone = eventually(lambda: not any(os.path.exists(f"/proc/{worker}") for worker in workers), FREED_WITHIN)
    assert gone, "a worker outlived its program"
