# SPDX-License-Identifier: Apache-2.0
"""list_gpus, smi, stats and net_perf on daemons, and the files that say which servers there are."""
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time

import pytest
from conftest import BITFUSION, NO_HANG, PROGRAMS, Manager, environment, run

NO_SERVER, WRONG_CONFIGURATION = 69, 78


@pytest.fixture(scope="module")
def two():
    """Two daemons, as the first two servers of the guide's example are two."""
    daemons = [Manager("4x12000"), Manager("2x12000")]
    yield daemons
    for daemon in daemons:
        daemon.stop()


@pytest.fixture
def nobody():
    """An address at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{probe.getsockname()[1]}"


# list_gpus

def test_list_gpus(two):
    """CLI-44, CLI-45, CLI-46, CLI-65: the guide's form, letter by letter, in the list's order."""
    finished = run([BITFUSION, "list_gpus", "-l", ";".join(daemon.address for daemon in two)])
    expected = "".join(
        f"- server {number} [{daemon.address}]: running 0 tasks\n"
        + "".join(f"|- GPU {gpu}: free memory 12000 MiB / 12000 MiB\n" for gpu in range(count))
        for number, (daemon, count) in enumerate(zip(two, (4, 2))))
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, expected, "")


def test_list_gpus_counts_allocations(two, cleanup):
    """CLI-45."""
    running = two[1].start([PROGRAMS / "endless"], "-n", 2, "-m", 1000)
    cleanup.append(running)
    running.wait_for_line("waiting")
    finished = run([BITFUSION, "list_gpus", "-l", two[1].address])
    assert "running 1 tasks\n" in finished.stdout
    assert finished.stdout.count("free memory 11000 MiB / 12000 MiB\n") == 2


def test_a_server_that_is_not_reached_has_its_line(two, nobody):
    """CLI-44."""
    finished = run([BITFUSION, "list_gpus", "-l", f"{nobody},{two[0].address}"])
    assert finished.returncode == NO_SERVER
    assert f"- server 0 [{nobody}]: unreachable (" in finished.stdout
    assert f"- server 1 [{two[0].address}]: running 0 tasks" in finished.stdout


def test_many_silent_servers_are_asked_at_once(two):
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(socket.socket()) for _ in range(20)]
        for one in silent:
            one.bind(("127.0.0.1", 0))
            one.listen(8)
        addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in silent] + [two[0].address]
        for command in ("list_gpus", "smi", "stats"):
            finished = run([BITFUSION, command, "-l", ",".join(addresses)])
            assert finished.returncode == NO_SERVER and finished.seconds < NO_HANG * 2, str(finished)


def test_a_draining_server_says_so():
    """UI-58."""
    daemon = Manager("1x1000")
    try:
        with open(os.path.join(daemon.folder, "settings.json"), "w", encoding="utf8") as file:
            file.write('{"accept_requests": false}')
        os.kill(daemon.running.pid, 1)
        deadline = time.monotonic() + NO_HANG
        while not daemon.gpus()["is_draining"] and time.monotonic() < deadline:
            time.sleep(0.02)
        assert "running 0 tasks, draining\n" in run([BITFUSION, "list_gpus", "-l", daemon.address]).stdout
        assert "draining" in run([BITFUSION, "stats", "-l", daemon.address]).stdout
    finally:
        daemon.stop()


# smi and stats

def test_smi(two, nobody):
    """CLI-50, CLI-51, CLI-79: boxes of 90 columns; an empty one for a server that does not answer."""
    finished = run([BITFUSION, "smi", "-l", f"{two[1].address},{nobody}"])
    assert finished.returncode == NO_SERVER and nobody in finished.stderr and len(finished.stderr.splitlines()) == 1
    lines = finished.stdout.splitlines()
    assert {len(line) for line in lines} == {90}
    assert lines[1].startswith(f"| {two[1].address} ")
    assert re.search(r"Driver Version: [\d.]+ \|$", lines[1])
    # Virtual and physical memory of two GPUs.
    assert sum("0       MB / 12000   MB" in line for line in lines) == 4
    assert lines[-2].strip("| ") == nobody and lines[-1] == lines[-3] == "+" + "-" * 88 + "+"


def test_smi_shows_what_is_allocated(two, cleanup):
    running = two[1].start([PROGRAMS / "endless"], "-n", 1, "-m", 1234)
    cleanup.append(running)
    running.wait_for_line("waiting")
    assert "1234    MB / 12000   MB" in run([BITFUSION, "smi", "-l", two[1].address]).stdout


def test_stats(two, cleanup):
    """CLI-78: GPUs, tasks with client and time, network counters; the same as JSON."""
    running = two[1].start([PROGRAMS / "endless"], "-n", 1, "-m", 1234)
    cleanup.append(running)
    running.wait_for_line("waiting")
    text = run([BITFUSION, "stats", "-l", two[1].address]).stdout
    assert text.startswith(f"server {two[1].address}: {socket.gethostname()}, version ")
    task = next(line for line in text.splitlines() if "endless" in line)
    assert "127.0.0.1" in task and "1234" in task
    server, = json.loads(run([BITFUSION, "stats", "-l", two[1].address, "--json"]).stdout)["servers"]
    status = server["status"]
    assert [gpu["allocated_mib"] for gpu in status["gpus"]] in ([1234, 0], [0, 1234])
    assert status["tasks"][0]["mib"] == 1234 and status["tasks"][0]["client"].endswith("endless")
    for network in status["networks"]:
        with open(f"/sys/class/net/{network['interface']}/statistics/rx_bytes", encoding="ascii") as file:
            assert network["received_bytes"] <= int(file.read())


def test_listing_commands_print_json(two, nobody):
    for command in ("list_gpus", "smi", "stats"):
        finished = run([BITFUSION, command, "--json", "-l", f"{two[0].address},{nobody}"])
        first, second = json.loads(finished.stdout)["servers"]
        assert finished.returncode == NO_SERVER
        assert first["address"] == two[0].address and "error" not in first
        assert second["address"] == nobody and second["error"]


# net_perf

HEADING = "Displayed results are calculated from round-trip measurements\nBW(1MB) = 1000/(LAT(1MB) - LAT(1B))\n"
LINE = r"\[ <client>\] (\S+) => \[(\S+)\] (net\d+) \( tcp\) Single packet lat = (\d+) us, bw\(1MB\) = (\d+\.\d\d) GB/s"


def measured(text):
    assert text.startswith(HEADING)
    lines = text[len(HEADING):].splitlines()
    found = [re.fullmatch(LINE, line) for line in lines]
    assert all(found), text
    return [match.groups() for match in found]


def test_net_perf(two):
    """CLI-52, CLI-53, CLI-54, CLI-56, CLI-81: one line for each server, none for RDMA devices that do not exist."""
    finished = run([BITFUSION, "net_perf", "-l", ",".join(daemon.address for daemon in two)])
    assert finished.returncode == 0, str(finished)
    lines = measured(finished.stdout)
    assert [line[:3] for line in lines] == [("lo", "127.0.0.1", "net1")] * 2
    assert all(0 < int(line[3]) < 100_000 and float(line[4]) > 0 for line in lines)


def test_net_perf_as_json(two, nobody):
    finished = run([BITFUSION, "net_perf", "--json", "-l", f"{two[0].address},{nobody}"])
    assert finished.returncode == NO_SERVER and nobody in finished.stderr
    measurement, = json.loads(finished.stdout)["measurements"]
    difference = max(1, measurement["latency_1mb_us"] - measurement["latency_us"])
    assert measurement["bandwidth_gb_per_s"] == pytest.approx(1000 / difference)


@pytest.fixture
def network():
    """Two hosts with two networks between them: of the second, the client's interface comes first."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("network namespaces need root and iproute2")
    server, client = f"bfs{os.getpid()}", f"bfc{os.getpid()}"

    def ip(*words):
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        try:
            ip("netns", "add", server)
            ip("netns", "add", client)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
        for number, (client_side, delay) in enumerate((("b0", None), ("a1", "5ms")), start=1):
            ip("link", "add", client_side, "netns", client, "type", "veth", "peer", "name", f"srv{number}", "netns", server)
            for host, name, last in ((client, client_side, 9), (server, f"srv{number}", 7)):
                ip("-n", host, "addr", "add", f"10.97.{number}.{last}/24", "dev", name)
                ip("-n", host, "link", "set", name, "up")
            if delay and shutil.which("tc"):
                subprocess.run(["tc", "-n", client, "qdisc", "add", "dev", client_side, "root", "netem", "delay", delay],
                               check=False, capture_output=True)
        yield server, client
    finally:
        for name in (server, client):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def test_net_perf_through_two_networks(network):
    """CLI-55: each interface of the client with the server's network of its subnet, each measured on its own way."""
    server, client = network
    daemon = Manager("1x64", bind="0.0.0.0", before=["ip", "netns", "exec", server])
    try:
        finished = run(["ip", "netns", "exec", client, BITFUSION, "net_perf", "-l", f"10.97.1.7:{daemon.srs_port}"])
        assert finished.returncode == 0, str(finished)
        lines = measured(finished.stdout)
        assert [line[:3] for line in lines] == [("b0", "10.97.1.7", "net1"), ("a1", "10.97.1.7", "net2")]
        delayed = subprocess.run(["tc", "-n", client, "qdisc", "show", "dev", "a1"], capture_output=True, text=True,
                                 check=False).stdout if shutil.which("tc") else ""
        if "netem" in delayed:
            # 5 ms on one of the two directions: half of the round trip is at least 2.5 ms.
            assert int(lines[1][3]) >= 2_500 > int(lines[0][3])
    finally:
        daemon.stop()


# Which servers

@pytest.mark.parametrize("text", ["{host}:{port}\n", "{host} {port}\n", "# one\n\n{host}:{port} # here\n",
                                  "servers:\n- reachable: {host}:{port}\n  addresses:\n  - {host}:{port}\n",
                                  "servers:\n- addresses: ['127.0.0.1:1', '{host}:{port}']\n"])
def test_the_users_file(two, tmp_path, text):
    """CFG-02, CFG-04, CFG-05, CFG-07, CFG-09, B-14: every form; nothing is written, also where nothing could be."""
    folder = tmp_path / ".bitfusion"
    folder.mkdir()
    file = folder / "servers.conf"
    file.write_text(text.format(host="127.0.0.1", port=two[0].srs_port))
    before = file.stat()
    finished = run([BITFUSION, "list_gpus"], environment(HOME=tmp_path))
    assert finished.returncode == 0 and f"[{two[0].address}]" in finished.stdout, str(finished)
    assert os.listdir(folder) == ["servers.conf"] and file.stat().st_mtime_ns == before.st_mtime_ns


def test_the_users_file_replaces_the_systems(two, tmp_path):
    """CFG-02, CFG-03."""
    etc = tmp_path / "etc"
    (etc / "bitfusion").mkdir(parents=True)
    (etc / "bitfusion" / "servers.conf").write_text(two[0].address)
    home = tmp_path / "home"
    home.mkdir()
    script = 'mount --bind "$1" /etc && shift && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", script, "sh", etc, BITFUSION, "list_gpus"]
    first = run(command, environment(HOME=home))
    if "unshare" in first.stderr or "mount" in first.stderr:
        pytest.skip(f"no mounts here: {first.stderr.strip()}")
    assert f"[{two[0].address}]" in first.stdout, str(first)
    (home / ".bitfusion").mkdir()
    (home / ".bitfusion" / "servers.conf").write_text(two[1].address)
    second = run(command, environment(HOME=home))
    assert f"[{two[1].address}]" in second.stdout and two[0].address not in second.stdout, str(second)


def test_a_file_or_a_list_of_the_command_line_wins(two, tmp_path):
    """CLI-39..43: -s and -l, before or behind the command, with ; or , between addresses."""
    (tmp_path / ".bitfusion").mkdir()
    (tmp_path / ".bitfusion" / "servers.conf").write_text("127.0.0.1:1\n")
    file = tmp_path / "others.conf"
    file.write_text(f"{two[1].address}\n")
    for words in (["list_gpus", "-s", file], ["-s", file, "list_gpus"], ["list_gpus", "--servers", file],
                  ["list_gpus", "-l", two[1].address], ["list_gpus", "--server_list", f"{two[1].address};"],
                  ["list_gpus", "-l", f",{two[1].address}"]):
        finished = run([BITFUSION, *words], environment(HOME=tmp_path))
        assert finished.returncode == 0, str(finished)
        assert f"[{two[1].address}]" in finished.stdout and "server 1" not in finished.stdout


def test_names_and_ipv6(two):
    """CFG-09: besides IPv4."""
    by_name = run([BITFUSION, "list_gpus", "-l", f"localhost:{two[0].srs_port}"])
    assert by_name.returncode == 0 and f"[localhost:{two[0].srs_port}]" in by_name.stdout, str(by_name)
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    daemon = Manager("1x64", bind="::1")
    try:
        finished = run([BITFUSION, "list_gpus", "-l", daemon.address])
        assert finished.returncode == 0 and f"[[::1]:{daemon.srs_port}]" in finished.stdout, str(finished)
        assert daemon.run([PROGRAMS / "vector_add"], "-n", 1, "-m", 60).returncode == 0
    finally:
        daemon.stop()


@pytest.mark.parametrize("text, word", [("10.0.0.1:x\n", "line 1"), ("servers:\n- a b c\n", "line 2"), ("servers: [\n", "line"),
                                        ("# empty\n", "names no server"), ("a" * 5_000_000, "MiB")])
def test_a_wrong_file_is_named(tmp_path, text, word):
    file = tmp_path / "wrong.conf"
    file.write_text(text)
    finished = run([BITFUSION, "list_gpus", "-s", file])
    assert finished.returncode == WRONG_CONFIGURATION and str(file) in finished.stderr and word in finished.stderr, str(finished)
    assert len(finished.stderr.splitlines()) == 1
