# SPDX-License-Identifier: Apache-2.0
"""Everything that can be wrong ends within seconds, in words that name the place, with the documented status."""
import random
import os
import signal
import socket
import struct
import time

import pytest
from conftest import (BITFUSION, CLIENT, NO_HANG, PROGRAMS, FREED_WITHIN, Manager, Running, environment, eventually,
                      program_below, run)

USAGE, NO_SERVER, NO_GPUS, NOT_FOUND = 64, 69, 75, 127


def expect_refusal(finished, status, *words):
    assert finished.returncode == status, str(finished)
    assert finished.seconds < NO_HANG, str(finished)
    for word in words:
        assert word in finished.stderr, f"'{word}' is not in: {finished}"
    assert "ok " not in finished.stdout, str(finished)


@pytest.fixture(autouse=True)
def nothing_left(request):
    """After each of these the daemon is idle and still works."""
    yield
    if "manager" in request.fixturenames:
        manager = request.getfixturevalue("manager")
        assert eventually(manager.is_idle, FREED_WITHIN), manager.gpus()


def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_with(address, *options):
    return run([BITFUSION, "run", "-l", address, *options, "--", PROGRAMS / "vector_add"], timeout=NO_HANG * 2)


def test_no_server():
    address = f"127.0.0.1:{unused_port()}"
    expect_refusal(run_with(address, "-n", "1"), NO_SERVER, address)


def test_no_server_in_the_configuration(tmp_path):
    configuration = tmp_path / "servers.conf"
    configuration.write_text("# nothing here\n\n")
    finished = run([BITFUSION, "run", "-s", configuration, "-n", "1", "--", "true"], timeout=NO_HANG * 2)
    assert finished.returncode in (NO_SERVER, 78), str(finished)
    assert "servers.conf" in finished.stderr, str(finished)


def test_unknown_host():
    expect_refusal(run_with("no-such-host.invalid:56001", "-n", "1"), NO_SERVER, "no-such-host.invalid")


def test_port_of_something_else(manager):
    address = f"127.0.0.1:{manager.dispatcher_port}"
    expect_refusal(run_with(address, "-n", "1"), NO_SERVER, address)


def test_silent_server():
    """Something accepts the connection and never says a word."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        expect_refusal(run_with(address, "-n", "1"), NO_SERVER, address)


@pytest.mark.parametrize("options", [["-n", "0"], ["-n", "-1"], ["-n", "x"], ["-n"], [], ["-n", "1", "-m", "0"],
                                     ["-n", "1", "-p", "0"], ["-n", "1", "-p", "0.5", "-m", "10"],
                                     ["-n", "1", "-t", "soon"], ["-n", "1", "--no-such-option"]])
def test_wrong_usage(manager, options):
    expect_refusal(run_with(manager.address, *options), USAGE)


def test_more_gpus_than_exist(manager):
    expect_refusal(run_with(manager.address, "-n", "3"), NO_GPUS, "3", "2")


def test_more_memory_than_exists(manager):
    expect_refusal(run_with(manager.address, "-n", "1", "-m", "5000"), NO_GPUS, "5000", "4096")


def test_program_not_found(manager):
    finished = run([BITFUSION, "run", "-l", manager.address, "-n", "1", "--", "/no/such/program"])
    expect_refusal(finished, NOT_FOUND, "/no/such/program")


def test_no_gpu_free_in_time(shared_gpu, cleanup):
    holder = shared_gpu.start([PROGRAMS / "busy", 30, 64], "-n", 1)
    cleanup.append(holder)
    holder.wait_for_line("started")
    finished = run([BITFUSION, "run", "-l", shared_gpu.address, "-n", "1", "-t", "1s", "--", PROGRAMS / "vector_add"])
    expect_refusal(finished, NO_GPUS, shared_gpu.address)


def run_directly(manager, ticket):
    """A program with our library and a chosen ticket, as `bitfusion run` would start it."""
    return run([PROGRAMS / "vector_add"],
               environment(LD_LIBRARY_PATH=CLIENT, BITFUSION_SERVER=f"127.0.0.1:{manager.dispatcher_port}",
                           BITFUSION_TICKET=ticket), timeout=NO_HANG * 2)


@pytest.mark.parametrize("ticket", ["00" * 32, "ff" * 32, "12", "", "zz" * 32])
def test_wrong_ticket(manager, ticket):
    expect_refusal(run_directly(manager, ticket), 1, "ticket")


def test_no_dispatcher():
    port = unused_port()
    finished = run([PROGRAMS / "vector_add"],
                   environment(LD_LIBRARY_PATH=CLIENT, BITFUSION_SERVER=f"127.0.0.1:{port}",
                               BITFUSION_TICKET="00" * 32), timeout=NO_HANG * 2)
    expect_refusal(finished, 1, f"127.0.0.1:{port}")


def hello(major=1, magic=0x55434642):
    """The first 64 bytes of a data connection (docs/wire-format.md)."""
    return struct.pack("<IHH32sII16x", magic, major, 0, bytes(32), os.getpid(), 0)


def exchange(port, data, within=NO_HANG + 3):
    """Sends bytes and returns all that comes back until the server closes; fails if it does not."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=within) as connection:
        deadline = time.monotonic() + within
        try:
            connection.sendall(data)
            while time.monotonic() < deadline:
                connection.settimeout(max(0.1, deadline - time.monotonic()))
                part = connection.recv(65536)
                if not part:
                    return received
                received += part
        except ConnectionError:
            return received
        except socket.timeout:
            pass
    return pytest.fail(f"the server kept the connection; it said {received[:200]!r}")


def test_other_protocol_version(manager):
    reply = exchange(manager.dispatcher_port, hello(major=99))
    magic, major, _, status, length = struct.unpack_from("<IHHII", reply)
    sentence = reply[16:16 + length].decode()
    assert (magic, major, status) == (0x55434642, 1, 1)
    assert "version" in sentence and "99" in sentence


def test_wrong_ticket_on_the_wire(manager):
    reply = exchange(manager.dispatcher_port, hello())
    assert struct.unpack_from("<IHHII", reply)[3] == 2 and b"ticket" in reply


@pytest.mark.parametrize("port", ["srs_port", "dispatcher_port"])
@pytest.mark.parametrize("data", [
    b"", b"\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"{" * 3000, b"{}\n", b'{"version":1,"type":"no such thing"}\n',
    b"\x00" * 200, random.Random(1).randbytes(100_000), b"a" * 3_000_000, hello()[:40],
], ids=["nothing", "empty-line", "http", "braces", "empty-object", "unknown-request", "zeros", "random",
        "endless-line", "half-hello"])
def test_garbage(manager, port, data):
    exchange(getattr(manager, port), data)
    finished = manager.run([PROGRAMS / "vector_add"])
    assert finished.returncode == 0, str(finished)


def test_many_silent_connections(manager):
    """Connections that say nothing do not keep others out."""
    silent = [socket.create_connection(("127.0.0.1", port), timeout=NO_HANG)
              for port in [manager.srs_port, manager.dispatcher_port] * 40]
    try:
        finished = manager.run([PROGRAMS / "vector_add"])
        assert finished.returncode == 0, str(finished)
    finally:
        for connection in silent:
            connection.close()


def start_endless(daemon, cleanup):
    running = daemon.start([PROGRAMS / "endless"], "-n", 1)
    cleanup.append(running)
    running.wait_for_line("waiting")
    time.sleep(0.3)  # Into the call that waits.
    return running


def expect_broken_call(running, interrupted):
    finished = running.wait(NO_HANG * 2)
    assert time.monotonic() - interrupted < NO_HANG, str(finished)
    assert finished.returncode not in (0, "none"), str(finished)
    assert "cudaDeviceSynchronize" in finished.stderr, str(finished)
    return finished


def test_worker_killed_mid_call(shared_gpu, cleanup):
    running = start_endless(shared_gpu, cleanup)
    worker = shared_gpu.worker_serving(program_below(running.pid, "endless"))
    assert worker is not None
    interrupted = time.monotonic()
    os.kill(worker, signal.SIGKILL)
    finished = expect_broken_call(running, interrupted)
    assert f":{shared_gpu.dispatcher_port}" in finished.stderr, str(finished)
    assert eventually(shared_gpu.is_idle, FREED_WITHIN)
    assert shared_gpu.run([PROGRAMS / "vector_add"]).returncode == 0


def test_server_stopped_mid_run(cleanup):
    daemon = Manager("1x4096")
    cleanup.append(daemon.running)
    running = start_endless(daemon, cleanup)
    interrupted = time.monotonic()
    stopped = daemon.stop()
    assert stopped.returncode == 0, str(stopped)
    expect_broken_call(running, interrupted)


def test_server_killed_mid_run(cleanup):
    daemon = Manager("1x4096")
    cleanup.append(daemon.running)
    running = start_endless(daemon, cleanup)
    workers = [worker for worker in [daemon.worker_serving(program_below(running.pid, "endless"))] if worker]
    interrupted = time.monotonic()
    os.kill(daemon.running.pid, signal.SIGKILL)
    expect_broken_call(running, interrupted)
    gone = eventually(lambda: not any(os.path.exists(f"/proc/{worker}") for worker in workers), NO_HANG)
    daemon.stop()
    assert gone, "a worker outlived its daemon"


def test_interrupt_reaches_the_program(shared_gpu, cleanup):
    running = start_endless(shared_gpu, cleanup)
    running.process.send_signal(signal.SIGINT)
    finished = running.wait(NO_HANG)
    assert finished.returncode == 128 + signal.SIGINT, str(finished)
    assert eventually(shared_gpu.is_idle, FREED_WITHIN)


@pytest.mark.parametrize("options, word", [
    (["--soft-gpu", "many"], "many"), (["--soft-gpu", "0x4096"], "0 GPUs"), (["--driver", "/no/such/lib.so"], "/no/such"),
])
def test_manager_refuses(tmp_path, options, word):
    command = [BITFUSION, "manager", "--data-dir", tmp_path, "--bind", "127.0.0.1", "--srs-port", "0",
               "--dispatcher-port", "0", *options]
    finished = run(command, timeout=NO_HANG * 2)
    assert finished.returncode != 0 and word in finished.stderr, str(finished)


def test_manager_on_a_port_in_use(manager, tmp_path):
    command = [BITFUSION, "manager", "--data-dir", tmp_path, "--soft-gpu", "1x64", "--bind", "127.0.0.1",
               "--srs-port", manager.srs_port, "--dispatcher-port", "0"]
    finished = run(command, timeout=NO_HANG * 2)
    assert finished.returncode != 0 and str(manager.srs_port) in finished.stderr, str(finished)


def test_manager_without_a_place_for_its_data():
    finished = run([BITFUSION, "manager", "--data-dir", "/proc/none", "--soft-gpu", "1x64", "--srs-port", "0",
                    "--dispatcher-port", "0"], timeout=NO_HANG * 2)
    assert finished.returncode != 0 and "/proc/none" in finished.stderr, str(finished)
