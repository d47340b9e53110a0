# SPDX-License-Identifier: Apache-2.0
"""A partition holds for all processes of an allocation together, whatever way they take device memory (ARC-14).

The programs try to have more than they were given. What CUDA tells each of them stays what is true.
"""
import os
import pathlib
import signal
import struct
import threading

import pytest
from conftest import (CLIENT, FREED_WITHIN, NO_HANG, PYTHON, Running, environment, eventually, run)
from test_bad_input import exchange

PARTITION = 64
SCRIPT = pathlib.Path(__file__).parent / "device_memory.py"
OPTIONS = ("-n", 1, "-m", PARTITION)


def program(*words):
    return [PYTHON, SCRIPT, *(str(word) for word in words)]


def numbers(finished):
    assert finished.returncode == 0, str(finished)
    return [int(word) for word in finished.stdout.split()]


class Shared:
    """An allocation that is held open, for programs with its ticket."""

    def __init__(self, manager, cleanup, *options):
        self.keeper = manager.start(["sh", "-c", 'echo "$BITFUSION_SERVER $BITFUSION_TICKET"; exec sleep 600'],
                                    *(options or OPTIONS))
        cleanup.append(self.keeper)
        assert eventually(lambda: self.keeper.output_so_far().endswith("\n"), NO_HANG)
        self.server, self.ticket = self.keeper.output_so_far().split()

    def environment(self, **changes):
        return environment(LD_LIBRARY_PATH=CLIENT, BITFUSION_SERVER=self.server, BITFUSION_TICKET=self.ticket,
                           **changes)

    def run(self, *words):
        return run(program(*words), self.environment(), timeout=NO_HANG * 4)

    def start(self, cleanup, *words):
        running = Running(program(*words), self.environment())
        cleanup.append(running)
        return running

    def end(self):
        self.keeper.process.send_signal(signal.SIGTERM)
        self.keeper.wait(NO_HANG)


@pytest.fixture
def shared(manager, cleanup):
    allocation = Shared(manager, cleanup)
    yield allocation
    allocation.end()
    assert eventually(manager.is_idle, FREED_WITHIN), manager.gpus()


@pytest.mark.parametrize("way", ["alloc", "pitch", "async", "globals"])
def test_every_way_ends_at_the_partition(manager, way):
    assert numbers(manager.run(program(way, 4), *OPTIONS)) == [PARTITION]


def test_sizes_are_the_partitions(manager):
    assert numbers(manager.run(program("sizes"), *OPTIONS)) == [PARTITION << 20, PARTITION << 20]


def test_threads(manager):
    assert numbers(manager.run(program("threads", 16), *OPTIONS)) == [PARTITION]


def test_children(manager):
    assert numbers(manager.run(program("children", 4), *OPTIONS)) == [PARTITION]


def test_processes_on_a_whole_gpu(manager, cleanup, tmp_path):
    """Without a partition the GPU's memory is the limit of all together."""
    whole = Shared(manager, cleanup, "-n", 1)
    first = whole.start(cleanup, "take", 3000, "hold", tmp_path / "stop")
    first.wait_for_line("3000")
    assert numbers(whole.run("take", 1097)) == [0]
    assert numbers(whole.run("take", 1096)) == [1096]
    (tmp_path / "stop").touch()
    assert first.wait(NO_HANG).returncode == 0
    whole.end()


def test_applications_at_once(shared, cleanup, tmp_path):
    stop = tmp_path / "stop"
    first = shared.start(cleanup, "take", 40, "hold", stop)
    first.wait_for_line("40")
    assert numbers(shared.run("take", 25)) == [0]
    assert numbers(shared.run("take", 24)) == [24]
    assert numbers(shared.run("sizes")) == [24 << 20, PARTITION << 20]
    stop.touch()
    assert first.wait(NO_HANG).returncode == 0
    assert eventually(lambda: numbers(shared.run("take", PARTITION)) == [PARTITION], FREED_WITHIN * 2)


def test_only_one_of_two_gets_what_one_can_have(shared):
    """Both ask at the same moment; never both and never none gets it."""
    for _ in range(5):
        found = []
        threads = [threading.Thread(target=lambda: found.append(numbers(shared.run("take", 40, "hold", "/")))) for _ in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # They may also have come one after the other.
        assert sorted(map(tuple, found)) in ([(0,), (40,)], [(40,), (40,)]), found


def test_a_full_allocation_refuses_a_second_connection_its_memory(shared, cleanup, tmp_path):
    first = shared.start(cleanup, "alloc", 1, "hold", tmp_path / "stop")
    first.wait_for_line(str(PARTITION))
    for way in ("alloc", "pitch", "async", "globals"):
        assert numbers(shared.run(way, 1)) == [0], way
    assert numbers(shared.run("sizes")) == [0, PARTITION << 20]
    (tmp_path / "stop").touch()
    assert first.wait(NO_HANG).returncode == 0


@pytest.mark.parametrize("victim", ["program", "worker"])
def test_what_a_killed_process_had_is_free_for_its_siblings(manager, shared, cleanup, tmp_path, victim):
    first = shared.start(cleanup, "take", 40, "hold", tmp_path / "never")
    second = shared.start(cleanup, "take", 10, "hold", tmp_path / "stop")
    first.wait_for_line("40")
    second.wait_for_line("10")
    assert numbers(shared.run("sizes"))[0] == 14 << 20
    process = first.pid if victim == "program" else manager.worker_serving(first.pid)
    os.kill(process, signal.SIGKILL)
    assert eventually(lambda: numbers(shared.run("sizes"))[0] == 54 << 20, FREED_WITHIN)
    assert numbers(shared.run("take", 54)) == [54]
    (tmp_path / "stop").touch()
    assert second.wait(NO_HANG).returncode == 0


def test_memory_that_a_pool_keeps_is_not_lost(manager):
    """A pool has kept 40 MiB; allocations of another kind get at them."""
    assert numbers(manager.run(program("keep", 40), *OPTIONS)) == [PARTITION]


def test_memory_is_had_again_in_the_order_of_a_stream(manager):
    finished = manager.run(program("exchange", 40, 50), *OPTIONS)
    assert finished.returncode == 0 and finished.stdout == "done\n", str(finished)


def test_the_heap_of_kernels_is_no_way_out(manager):
    assert manager.run(program("heap", PARTITION + 1), *OPTIONS).stdout == "refused\n"
    assert manager.run(program("heap", PARTITION), *OPTIONS).stdout == "set\n"


def test_everything_is_given_back(shared):
    """Programs that take and give back in all ways, at once, some refused; afterwards all is free, to the byte."""
    results = []
    threads = [threading.Thread(target=lambda: results.append(shared.run("churn", 2))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(finished.returncode == 0 for finished in results), "\n".join(map(str, results))
    assert eventually(lambda: numbers(shared.run("sizes")) == [PARTITION << 20] * 2, FREED_WITHIN)


def test_another_library_gives_no_more(manager, tmp_path):
    """The application loads our library again by its path, and the software GPU that happens to lie beside it."""
    copy = tmp_path / "another-name.so"
    copy.symlink_to(CLIENT / "libcuda.so.1")
    text = ("import ctypes\n"
            f"for path in ({str(copy)!r}, {str(CLIENT / 'libcuda.so.1')!r}):\n"
            "    cuda = ctypes.CDLL(path)\n"
            "    free, total, context = ctypes.c_size_t(), ctypes.c_size_t(), ctypes.c_void_p()\n"
            "    assert cuda.cuInit(0) == 0\n"
            "    assert cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0\n"
            "    assert cuda.cuCtxSetCurrent(context) == 0\n"
            "    assert cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)) == 0\n"
            "    print(total.value)\n")
    assert numbers(manager.run([PYTHON, "-c", text], *OPTIONS)) == [PARTITION << 20] * 2


def test_a_forged_ticket(manager, shared):
    """A digit of a valid ticket is changed."""
    forged = ("1" if shared.ticket[0] == "0" else "0") + shared.ticket[1:]
    finished = run(program("sizes"), environment(
        LD_LIBRARY_PATH=CLIENT, BITFUSION_SERVER=shared.server, BITFUSION_TICKET=forged))
    assert finished.returncode == 1 and "ticket" in finished.stderr and shared.server in finished.stderr, str(finished)


def test_a_ticket_after_its_end(manager, cleanup):
    allocation = Shared(manager, cleanup)
    assert numbers(allocation.run("take", 1)) == [1]
    allocation.end()
    assert eventually(manager.is_idle, FREED_WITHIN)
    finished = allocation.run("sizes")
    assert finished.returncode == 1 and "ticket" in finished.stderr, str(finished)


def test_another_allocations_ticket_opens_only_that_one(manager, shared, cleanup):
    """Who has a ticket has that allocation's partition, beside whatever else runs."""
    other = Shared(manager, cleanup, "-n", 1, "-m", 32)
    assert numbers(shared.run("sizes"))[1] == PARTITION << 20
    assert numbers(other.run("alloc", 1)) == [32]
    assert numbers(shared.run("alloc", 1)) == [PARTITION]
    other.end()


def test_a_program_name_of_any_bytes(manager, shared):
    """The hello carries the program's name for tools; whatever it is, the worker serves."""
    hello = struct.pack("<IHH32sI4x16s", 0x55434642, 1, 0, bytes.fromhex(shared.ticket), os.getpid(), b"\xff" * 16)
    # A frame that is none ends the session.
    reply = exchange(manager.dispatcher_port, hello + b"\xff" * 64)
    assert struct.unpack_from("<IHHII", reply)[3] == 0
