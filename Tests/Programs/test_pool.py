# SPDX-License-Identifier: Apache-2.0
"""Who gets which GPU, and for how long: whole commands against real daemons."""
import json
import os
import pathlib
import signal
import time

import pytest
from conftest import BITFUSION, FREED_WITHIN, NO_HANG, PROGRAMS, Manager, Running, environment, eventually, run

USAGE, NO_GPUS, NOT_ALLOWED = 64, 75, 77


@pytest.fixture
def daemons():
    """Starts daemons of their own and stops them."""
    started = []

    def start(soft_gpu="1x4096"):
        started.append(Manager(soft_gpu))
        return started[-1]

    yield start
    for daemon in started:
        daemon.stop()


def command(servers, *options, program=("sleep", "60")):
    addresses = ";".join(server.address for server in servers)
    return [BITFUSION, "run", "-l", addresses, *[str(option) for option in options], "--", *program]


def settle(daemon, **settings):
    """Gives a daemon settings while it runs."""
    said = "Settings read again."
    before = daemon.running.output_so_far().count(said)
    (pathlib.Path(daemon.folder) / "settings.json").write_text(json.dumps(settings))
    daemon.running.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: daemon.running.output_so_far().count(said) > before, NO_HANG)


def held(daemon):
    return daemon.gpus()["running_tasks"]


@pytest.mark.parametrize("name", ["resource_scheduler", "srs"])
def test_the_scheduler_alone_runs_applications(name):
    """CLI-87."""
    server = Manager("4x256", command=name)
    try:
        finished = server.run([PROGRAMS / "vector_add"], "-n", 4)
        assert finished.returncode == 0, str(finished)
    finally:
        server.stop()


def test_a_second_server_of_a_data_folder_is_refused(tmp_path):
    server = Manager("1x256", folder=str(tmp_path))
    try:
        finished = run([BITFUSION, "resource_scheduler", "--data-dir", tmp_path, "--soft-gpu", "1x256",
                        "--srs_port", "0", "--dispatcher_port", "0"], timeout=NO_HANG * 2)
        assert finished.returncode == 78 and "another daemon uses" in finished.stderr, str(finished)
    finally:
        server.stop()


def listed_home(tmp_path, *servers):
    """A home folder that cannot be written, whose list has these servers."""
    folder = tmp_path / "home" / ".bitfusion"
    folder.mkdir(parents=True)
    (folder / "servers.conf").write_text("".join(f"{server.address}\n" for server in servers))
    for path in (folder / "servers.conf", folder, folder.parent):
        path.chmod(0o500)
    return environment(HOME=folder.parent)


def test_clients_learn_the_other_servers(daemons, cleanup, tmp_path):
    """ARC-11, CFG-01, CFG-07: a list with one server is enough, and nothing is written."""
    first, second = daemons(), daemons("2x1024")
    # Under another name, as an administrator may write it; nobody asks it twice.
    settle(first, servers=[f"localhost:{first.srs_port}", second.address])
    env = listed_home(tmp_path, first)
    listed = run([BITFUSION, "list_gpus", "--json"], env)
    assert [server["address"] for server in json.loads(listed.stdout)["servers"]] == [first.address, second.address]
    # What the first can never give is had from the second, and so is what it has given away.
    assert run([BITFUSION, "run", "-n", "2", "--quiet", "--", PROGRAMS / "two_devices"], env).returncode == 0
    owner = Running(command([first], "-n", 1))
    cleanup.append(owner)
    assert eventually(lambda: held(first) == 1, NO_HANG)
    finished = run([BITFUSION, "run", "-n", "1", "-t", "20", "--", "echo", "served"], env)
    assert finished.returncode == 0 and f"Server List: {second.address}" in finished.stderr, str(finished)
    # A list that was chosen for this command stays as it is (CLI-39).
    chosen = run([BITFUSION, "list_gpus", "--json", "-l", first.address], env)
    assert len(json.loads(chosen.stdout)["servers"]) == 1


def test_waits_at_several_servers_and_takes_the_first_offer(daemons, cleanup):
    """CLI-07, CLI-09: the GPUs come from one server, whichever is free first, and nothing stays held at the other."""
    first, second = daemons(), daemons()
    for server in (first, second):
        owner = Running(command([server], "-n", 1))
        cleanup.append(owner)
        assert eventually(lambda: held(server) == 1, NO_HANG)
        server.owner = owner
    waiting = Running(command([first, second], "-n", 1, "-t", "60", program=["echo", "served"]))
    cleanup.append(waiting)
    assert eventually(lambda: first.gpus()["waiting_tasks"] == second.gpus()["waiting_tasks"] == 1, NO_HANG)
    second.owner.process.send_signal(signal.SIGTERM)
    finished = waiting.wait(NO_HANG)
    assert finished.returncode == 0 and finished.stdout == "served\n", str(finished)
    assert f"Server List: {second.address}" in finished.stderr
    assert first.address in finished.stderr and "position 1" in finished.stderr and "left" in finished.stderr
    assert eventually(lambda: first.gpus()["waiting_tasks"] == 0 and second.is_idle(), FREED_WITHIN)


def test_an_unreachable_server_keeps_nobody_from_another(daemons):
    """CLI-39, CLI-41."""
    server = daemons()
    finished = run([BITFUSION, "run", "-l", f"127.0.0.1:1;{server.address}", "-n", "1", "--", "echo", "served"],
                   timeout=NO_HANG * 2)
    assert finished.returncode == 0 and finished.stdout == "served\n", str(finished)


def test_whoever_waits_survives_a_restart_of_the_server(daemons, cleanup):
    server = daemons()
    owner = Running(command([server], "-n", 1))
    cleanup.append(owner)
    assert eventually(lambda: held(server) == 1, NO_HANG)
    waiting = Running(command([server], "-n", 1, "-t", "60", program=["echo", "served"]))
    cleanup.append(waiting)
    assert eventually(lambda: server.gpus()["waiting_tasks"] == 1, NO_HANG)
    server.running.process.send_signal(signal.SIGKILL)
    server.running.process.wait(NO_HANG)
    again = Running([BITFUSION, "manager", "--data-dir", server.folder, "--soft-gpu", "1x4096", "--bind", "127.0.0.1",
                     "--srs-port", str(server.srs_port), "--dispatcher-port", "0"])
    cleanup.append(again)
    finished = waiting.wait(NO_HANG * 3)
    assert finished.returncode == 0 and finished.stdout == "served\n", str(finished)
    assert "Lost" in finished.stderr and server.address in finished.stderr


def test_idle_gpus_are_released_with_a_warning(daemons, cleanup):
    """CLI-26, CLI-29: the banner says the interval; a line comes before the cut, and one with the reason after it."""
    server = daemons()
    settle(server, idle_minutes=0.05)
    idle = Running(command([server], "-n", 1, program=["sleep", "20"]))
    cleanup.append(idle)
    assert eventually(lambda: held(server) == 1, NO_HANG)
    assert eventually(server.is_idle, 3 + NO_HANG), "released after three seconds"
    idle.process.send_signal(signal.SIGTERM)
    finished = idle.wait(NO_HANG)
    lines = finished.stderr.splitlines()
    assert "Client idle timeout: 1 min" in lines
    warning = next(index for index, line in enumerate(lines) if "are released in" in line)
    cut = next(index for index, line in enumerate(lines) if "were not used for 3s" in line)
    assert warning < cut and server.address in lines[cut], finished.stderr


def test_gpus_in_use_are_not_idle(daemons, cleanup, tmp_path):
    server = daemons()
    settle(server, idle_minutes=0.05)
    stop = tmp_path / "stop"
    busy = Running(command([server], "-n", 1, "-m", 1024, program=[PROGRAMS / "busy", "60", "64", stop]))
    cleanup.append(busy)
    busy.wait_for_line("started")
    time.sleep(4)
    assert held(server) == 1
    stop.touch()
    finished = busy.wait(NO_HANG * 2)
    assert finished.returncode == 0 and finished.stdout.endswith("ok busy\n"), str(finished)


def test_a_drained_server_accepts_nothing_new(daemons, cleanup):
    """ARC-13: what runs goes on."""
    server, other = daemons(), daemons()
    running = Running(command([server], "-n", 1, "-m", 100, program=["sleep", "30"]))
    cleanup.append(running)
    assert eventually(lambda: held(server) == 1, NO_HANG)
    settle(server, accept_requests=False)
    refused = run(command([server], "-n", 1, "-m", 100, "-t", "0", program=["true"]), timeout=NO_HANG)
    assert refused.returncode == NO_GPUS and "draining" in refused.stderr, str(refused)
    elsewhere = run(command([server, other], "-n", 1, program=["true"]), timeout=NO_HANG)
    assert elsewhere.returncode == 0 and other.address in elsewhere.stderr, str(elsewhere)
    assert running.process.poll() is None and server.gpus()["is_draining"] is True
    settle(server)
    assert run(command([server], "-n", 1, "-m", 100, program=["true"]), timeout=NO_HANG).returncode == 0


def test_quotas_count_parts_of_gpus(daemons, cleanup):
    """CLI-04: beyond the quota alone is not allowed (77); together with what runs it waits."""
    server = daemons("3x4096")
    settle(server, quota_gpus=1.5)
    refused = run(command([server], "-n", 2, program=["true"]), timeout=NO_HANG)
    assert refused.returncode == NOT_ALLOWED and "quota is 1.5" in refused.stderr, str(refused)
    running = Running(command([server], "-n", 1))
    cleanup.append(running)
    assert eventually(lambda: held(server) == 1, NO_HANG)
    refused = run(command([server], "-n", 1, "-t", "0", program=["true"]), timeout=NO_HANG)
    assert refused.returncode == NO_GPUS and "quota" in refused.stderr, str(refused)
    assert run(command([server], "-n", 1, "-p", "0.5", "-t", "0", program=["true"]), timeout=NO_HANG).returncode == 0


def test_filters(daemons):
    """B-04."""
    server = daemons("2x2048")

    def status(*filters):
        options = [word for text in filters for word in ("--filter", text)]
        return run(command([server], "-n", 1, "-t", "0", *options, program=["true"]), timeout=NO_HANG)

    hostname = os.uname().nodename
    for filters in (["device.name=Soft"], ["device.id=1"], ["device.phy-memory>=2048"], ["server.cuda-version>=12"],
                    [f"server.hostname={hostname}"], ["server.driver-version>=500"],
                    ["server.driver-version=575.00.00"], ["server.hostname=other", f"server.hostname={hostname}"]):
        assert status(*filters).returncode == 0, filters
    for filters in (["device.name=A100"], ["device.id=7"], ["server.driver-version<=500.1"], ["device.name=Soft", "server.hostname=other"]):
        refused = status(*filters)
        assert refused.returncode == NO_GPUS and "filter" in refused.stderr, f"{filters}: {refused}"
    wrong = status("colour=red")
    assert wrong.returncode == USAGE and "colour" in wrong.stderr, str(wrong)


def test_settings_that_are_wrong_change_nothing(daemons):
    server = daemons()
    settle(server, quota_gpus=0.5)
    (pathlib.Path(server.folder) / "settings.json").write_text('{"quota_gpus": -1}')
    server.running.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: "settings stay as they are" in server.running.errors_so_far(), NO_HANG)
    assert run(command([server], "-n", 1, program=["true"]), timeout=NO_HANG).returncode == NOT_ALLOWED


def test_a_daemon_does_not_start_with_wrong_settings(tmp_path):
    (tmp_path / "settings.json").write_text("{")
    finished = run([BITFUSION, "manager", "--data-dir", tmp_path, "--soft-gpu", "1x64", "--bind", "127.0.0.1",
                    "--srs-port", "0", "--dispatcher-port", "0"], timeout=NO_HANG * 2)
    assert finished.returncode == 78 and "settings.json" in finished.stderr, str(finished)


def test_an_owner_that_is_stopped_loses_its_gpus_after_the_lease(daemons, cleanup):
    """ARC-13: a client that is silent, as after a power failure, frees its GPUs within the lease of 30 s."""
    server = daemons()
    silent = Running(command([server], "-n", 1))
    cleanup.append(silent)
    assert eventually(lambda: held(server) == 1, NO_HANG)
    os.killpg(silent.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert eventually(server.is_idle, 35, every=0.5)
        assert time.monotonic() - began > 20, "a pause of some seconds is not the end"
    finally:
        os.killpg(silent.pid, signal.SIGCONT)
