# SPDX-License-Identifier: Apache-2.0
"""What breaks in a pool, with real processes: nothing stays allocated, nothing is given twice, no command hangs, and
every message says what happened and where."""
import concurrent.futures
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest
from conftest import (BITFUSION, FREED_WITHIN, NO_HANG, PATIENCE, PROGRAMS, PYTHON, Manager, Running, descendants,
                      eventually, program_below, run)
from test_limits import SCRIPT

# Whoever vanishes without a word is noticed within the lease, and the end of its workers.
NOTICED_WITHIN = 40


def options(folder, *more):
    return [BITFUSION, "manager", "--data-dir", folder, "--soft-gpu", "1x4096", "--bind", "127.0.0.1", *more]


# MARK: The daemon

def test_a_daemon_that_is_killed_takes_its_workers_along(shared_gpu, cleanup):
    """The application gets an error with the server's address, and a daemon started in the same place has it all."""
    busy = shared_gpu.start([PROGRAMS / "busy", 60, 64], "-n", 1)
    cleanup.append(busy)
    busy.wait_for_line("started")
    workers = descendants(shared_gpu.running.pid)
    assert workers
    shared_gpu.running.process.send_signal(signal.SIGKILL)
    shared_gpu.running.process.wait(NO_HANG)
    finished = busy.wait(NO_HANG)
    # The application's library and the launcher both tell, each of the port that it was connected to, if it comes to that.
    ports = (shared_gpu.srs_port, shared_gpu.dispatcher_port)
    assert finished.returncode != 0 and any(f"127.0.0.1:{port}" in finished.stderr for port in ports), str(finished)
    assert eventually(lambda: not any(is_running(worker) for worker in workers), FREED_WITHIN)
    again = Running(options(shared_gpu.folder, "--srs-port", str(shared_gpu.srs_port), "--dispatcher-port",
                            str(shared_gpu.dispatcher_port)))
    cleanup.append(again)
    assert eventually(lambda: listed(shared_gpu.address) == [4096], NO_HANG)
    served = shared_gpu.run([PROGRAMS / "vector_add"], "-n", 1)
    assert served.returncode == 0, str(served)


def is_running(pid):
    """Whether a process has not ended, also when nobody has waited for it."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def listed(address):
    """Free MiB of a server's GPUs; nothing while it does not answer."""
    finished = run([BITFUSION, "list_gpus", "-l", address, "--json"], timeout=NO_HANG * 2)
    if finished.returncode != 0:
        return None
    return [gpu["free_mib"] for gpu in json.loads(finished.stdout)["servers"][0]["gpus"]]


def test_a_stopped_process_of_the_daemon_is_not_waited_for(shared_gpu, cleanup):
    """A daemon that does not answer any more: commands give up in words."""
    os.kill(shared_gpu.running.pid, signal.SIGSTOP)
    try:
        for command in (["list_gpus", "-l", shared_gpu.address],
                        ["run", "-l", shared_gpu.address, "-n", "1", "-t", "60", "--", "true"]):
            finished = run([BITFUSION, *command], timeout=NO_HANG * 2)
            assert finished.returncode == 69, str(finished)
            assert shared_gpu.address in finished.stderr + finished.stdout, str(finished)
    finally:
        os.kill(shared_gpu.running.pid, signal.SIGCONT)
    assert eventually(shared_gpu.is_idle, NO_HANG), "what the given-up request asked for is free"


def test_a_storm_of_kills(cleanup):
    """Programs, launchers and workers are killed in a random order; afterwards all memory is free exactly once."""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    daemon = Manager("1x4096")
    cleanup.append(daemon.running)
    owners = []
    for _ in range(8):
        owners.append(daemon.start([PYTHON, SCRIPT, "take", "500", "hold", "/nowhere"], "-n", 1, "-m", 512))
        cleanup.append(owners[-1])
    for owner in owners:
        owner.wait_for_line("500")
    assert daemon.free_mebibytes() == [0]
    victims = []
    for owner in owners:
        program = program_below(owner.pid, os.path.basename(os.path.realpath(PYTHON)))
        victims.append(chance.choice([owner.pid, program, daemon.worker_serving(program)]))
        # What a killed worker leaves is a program that never calls again.
        if victims[-1] not in (owner.pid, program):
            victims.append(program)
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    for owner in owners:
        owner.wait(NO_HANG)
    assert eventually(daemon.is_idle, FREED_WITHIN), f"seed {seed}: {daemon.gpus()}"
    finished = daemon.run([PYTHON, SCRIPT, "take", "4096"], "-n", 1)
    assert finished.stdout == "4096\n", f"seed {seed}: {finished}"
    assert daemon.stop().returncode == 0


# MARK: A full disk, no descriptors

@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_told(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        with open(folder / "filler", "wb") as filler:
            try:
                filler.write(b"x" * (1 << 20))
                filler.flush()
            except OSError:
                pass
        daemon = Running(options(folder, "--srs-port", "0", "--dispatcher-port", "0"))
        try:
            assert eventually(lambda: "No space left" in daemon.errors_so_far(), NO_HANG), str(daemon.end())
            assert str(folder) in daemon.errors_so_far()
        finally:
            daemon.end()
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_server_without_descriptors_says_so_and_recovers(shared_gpu, cleanup):
    """CFG-15 for the server: requests are refused in words, and served again when there are descriptors."""
    pid = shared_gpu.running.pid
    used = len(os.listdir(f"/proc/{pid}/fd"))
    hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 1, hard))
    refused = run([BITFUSION, "run", "-l", shared_gpu.address, "-n", "1", "-t", "0", "--", "true"], timeout=NO_HANG * 2)
    assert refused.returncode in (69, 75) and shared_gpu.address in refused.stderr, str(refused)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
    served = shared_gpu.run([PROGRAMS / "vector_add"], "-n", 1)
    assert served.returncode == 0, str(served)
    assert eventually(shared_gpu.is_idle, FREED_WITHIN)


def test_a_crowd_of_silent_connections(cleanup):
    """CFG-15 for the server: more connections than it has descriptors; commands end in words, and when the crowd is gone
    all is as before."""
    daemon = Manager("1x256", before=["prlimit", "--nofile=48:48"])
    cleanup.append(daemon.running)
    assert daemon.run([PYTHON, SCRIPT, "take", "10"]).stdout == "10\n"
    crowd = []
    for port in [daemon.srs_port, daemon.dispatcher_port] * 40:
        crowd.append(socket.create_connection(("127.0.0.1", port), timeout=NO_HANG))
    finished = run(daemon.command([PYTHON, SCRIPT, "take", "10"]), timeout=NO_HANG * 5)
    if finished.returncode != 0:
        assert "127.0.0.1:" in finished.stderr, str(finished)
    for connection in crowd:
        connection.close()

    def serves_again():
        return daemon.run([PYTHON, SCRIPT, "take", "256"], timeout=NO_HANG * 4).stdout == "256\n"

    assert eventually(serves_again, PATIENCE, every=0.5), str(daemon.running.end())
    assert eventually(daemon.is_idle, FREED_WITHIN), daemon.gpus()
    assert daemon.stop().returncode == 0


def test_a_program_without_descriptors(manager):
    text = ("import ctypes, os, resource\n"
            "cuda = ctypes.CDLL('libcuda.so.1')\n"
            "resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))\n"
            "held = []\n"
            "try:\n"
            "    while True: held.append(os.open('/dev/null', os.O_RDONLY))\n"
            "except OSError: pass\n"
            "print(cuda.cuInit(0) != 0)\n"
            "for descriptor in held: os.close(descriptor)\n")
    finished = manager.run([PYTHON, "-c", text], timeout=NO_HANG * 2)
    assert finished.returncode == 0 and finished.stdout == "True\n", str(finished)
    assert f"127.0.0.1:{manager.dispatcher_port}" in finished.stderr and "open files" in finished.stderr, str(finished)


# MARK: Many at once

def test_two_hundred_clients_at_once(cleanup):
    """Each waits for its turn and is served; the GPU is never given away beyond its memory."""
    daemon = Manager("2x4096")
    try:
        def client(number):
            program = [PROGRAMS / "vector_add"] if number % 8 == 0 else ["true"]
            return run(daemon.command(program, "-n", 1, "-m", 512, "-t", "50"), timeout=90)

        with concurrent.futures.ThreadPoolExecutor(200) as pool:
            running = [pool.submit(client, number) for number in range(200)]
            least = 4096
            while not all(future.done() for future in running):
                least = min([least, *daemon.free_mebibytes()])
                time.sleep(0.2)
        failed = [future.result() for future in running if future.result().returncode != 0]
        assert not failed, f"{len(failed)} of 200, the first: {failed[0]}"
        assert least >= 0
        assert eventually(daemon.is_idle, FREED_WITHIN)
    finally:
        stopped = daemon.stop()
    assert stopped.returncode == 0 and not stopped.stderr.strip(), str(stopped)


def test_a_whole_gpu_has_one_owner(cleanup, tmp_path):
    """Each owner makes a folder that must not exist yet, and removes it before it ends."""
    daemon = Manager("1x256")
    cleanup.append(daemon.running)
    text = f"mkdir {tmp_path}/owner && sleep 0.02 && rmdir {tmp_path}/owner"
    owners = [daemon.start(["sh", "-c", text], "-n", 1, "-t", "2m") for _ in range(40)]
    cleanup += owners
    for owner in owners:
        finished = owner.wait(PATIENCE * 2)
        assert finished.returncode == 0, str(finished)
    assert eventually(daemon.is_idle, FREED_WITHIN), daemon.gpus()
    assert daemon.stop().returncode == 0


# MARK: A network that is cut

class CutNetwork:
    """Two hosts on one wire: the server's in a network namespace of its own, the client's in another."""

    def __init__(self):
        self.names = [f"bf{os.getpid()}{side}" for side in "sc"]
        self.links = [f"bf{os.getpid() % 100000}{side}" for side in "sc"]
        for name in self.names:
            self.ip("netns", "add", name)
        self.ip("link", "add", self.links[0], "netns", self.names[0], "type", "veth", "peer", "name", self.links[1],
                "netns", self.names[1])
        for name, link, address in zip(self.names, self.links, ("192.0.2.1/24", "192.0.2.2/24")):
            self.ip("-n", name, "address", "add", address, "dev", link)
            self.ip("-n", name, "link", "set", link, "up")
            self.ip("-n", name, "link", "set", "lo", "up")

    @staticmethod
    def ip(*words):
        done = subprocess.run(["ip", *words], capture_output=True, text=True)
        if done.returncode != 0:
            raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")

    def server(self, *command):
        return ["ip", "netns", "exec", self.names[0], *map(str, command)]

    def client(self, *command):
        return ["ip", "netns", "exec", self.names[1], *map(str, command)]

    def set(self, state):
        """Cuts the wire, or mends it."""
        self.ip("-n", self.names[1], "link", "set", self.links[1], state)

    def remove(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


@pytest.fixture
def cut_network(cleanup):
    """A daemon and a client on different hosts of a switched network (ARC-16, ARC-17, CFG-08)."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and ip")
    network = None
    folder = tempfile.mkdtemp(prefix="bitfusion-test-")
    try:
        try:
            network = CutNetwork()
        except OSError as problem:
            pytest.skip(f"no network namespaces here: {problem}")
        daemon = Running(network.server(BITFUSION, "manager", "--data-dir", folder, "--soft-gpu", "1x4096"))
        cleanup.append(daemon)
        assert eventually((pathlib.Path(folder) / "manager.json").exists, NO_HANG), str(daemon.end())
        yield network
    finally:
        for running in cleanup:
            running.end()
        if network:
            network.remove()
        shutil.rmtree(folder, ignore_errors=True)


def run_on_client(network, *words):
    return Running(network.client(BITFUSION, "run", "-l", "192.0.2.1", "-n", "1", *words))


def server_is_idle(network):
    """Asked on the server's own host, which the cut does not concern."""
    finished = run(network.server(BITFUSION, "list_gpus", "-l", "127.0.0.1", "--json"), timeout=NO_HANG * 2)
    return finished.returncode == 0 and json.loads(finished.stdout)["servers"][0]["running_tasks"] == 0


def test_three_seconds_without_network_are_bridged(cut_network, cleanup, tmp_path):
    stop = tmp_path / "stop"
    busy = run_on_client(cut_network, "--", PROGRAMS / "busy", "60", "64", stop)
    cleanup.append(busy)
    busy.wait_for_line("started")
    cut_network.set("down")
    time.sleep(3)
    cut_network.set("up")
    time.sleep(2)
    assert busy.process.poll() is None, str(busy.end())
    stop.touch()
    finished = busy.wait(NO_HANG * 3)
    assert finished.returncode == 0 and finished.stdout.endswith("ok busy\n"), str(finished)
    assert eventually(lambda: server_is_idle(cut_network), NO_HANG)


def test_another_network_has_no_memory_in_common(cut_network, cleanup, tmp_path):
    """The name by which a worker is found in shared memory does not exist there: TCP, without a word."""
    finished = run_on_client(cut_network, "--", PROGRAMS / "vector_add").wait(NO_HANG * 3)
    assert finished.returncode == 0 and finished.stdout.endswith("ok vector_add\n"), str(finished)
    demanded = run_on_client(cut_network, "--", "env", "BITFUSION_TRANSPORT=shm", PROGRAMS / "vector_add")
    cleanup.append(demanded)
    finished = demanded.wait(NO_HANG * 3)
    assert finished.returncode != 0 and "BITFUSION_TRANSPORT" in finished.stderr, str(finished)


def test_a_network_that_stays_cut_frees_the_gpus_and_ends_the_wait(cut_network, cleanup):
    """ARC-13: the server has its GPUs back within the lease, and the client's calls fail in words instead of hanging:
    one that sends, and one that only waits for an answer."""
    busy = run_on_client(cut_network, "-m", "1024", "--", PROGRAMS / "busy", "300", "64")
    waiting = run_on_client(cut_network, "-m", "1024", "--", PROGRAMS / "endless")
    cleanup += [busy, waiting]
    busy.wait_for_line("started")
    waiting.wait_for_line("waiting")
    time.sleep(0.3)  # Into the call that waits.
    cut_network.set("down")
    assert eventually(lambda: server_is_idle(cut_network), NOTICED_WITHIN, every=1)
    for running in (busy, waiting):
        finished = running.wait(NOTICED_WITHIN)
        assert finished.returncode != 0, str(finished)
        assert "192.0.2.1" in finished.stderr, str(finished)


def test_a_server_behind_a_cut_is_not_waited_for(cut_network, cleanup):
    cut_network.set("down")
    finished = run_on_client(cut_network, "-t", "60", "--", "true").wait(NO_HANG * 3)
    assert finished.returncode == 69 and "192.0.2.1:56001" in finished.stderr, str(finished)
