# SPDX-License-Identifier: Apache-2.0
"""The service of a GPU server under systemd, with everything that its unit takes away from it."""
import json
import re

import booted_system
import pytest
from conftest import NO_HANG, PATIENCE, PROGRAMS, ROOT, eventually

WHY_NOT = booted_system.missing()
UNIT = "bitfusion-manager.service"
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=f"a system of its own {WHY_NOT}")


@pytest.fixture(scope="module")
def server(debs):
    """A server of one software GPU, booted, that is its own client; ada is a member of the group."""
    system = booted_system.BootedSystem(debs["bitfusion-client"].parent, PROGRAMS)
    try:
        system.do("sh", "-c", "dpkg --force-unsafe-io --no-triggers --install /mnt/0/*.deb")
        system.do("sh", "-c", "echo 'BITFUSION_MANAGER_OPTIONS=--soft-gpu 1x512' >/etc/bitfusion/manager.env")
        system.do("sh", "-c", "echo 127.0.0.1 >>/etc/bitfusion/servers.conf")
        system.do("useradd", "--create-home", "--groups", "bitfusion", "ada")
        system.boot()
        yield system
    finally:
        system.end()


def shown(system, *properties):
    text = system.do("systemctl", "show", "bitfusion", *(f"--property={name}" for name in properties))
    return dict(line.split("=", 1) for line in text.splitlines())


def is_active(system):
    return system.run(["systemctl", "is-active", "bitfusion"]).stdout == "active\n"


def works(system):
    finished = system.run(["bitfusion", "run", "-n", "1", "--quiet", "--", "/mnt/1/vector_add"], "ada")
    return finished.returncode == 0 and finished.stdout == "ok vector_add\n"


def logged(system, text):
    return text in system.do("journalctl", "--no-pager", "-u", UNIT)


def test_runs_from_the_boot_on(server):
    """SVC-01, SVC-02, SVC-05, SVC-06: under both names, and it runs programs."""
    assert eventually(lambda: is_active(server), NO_HANG), server.run(["systemctl", "status", UNIT])
    assert shown(server, "Id", "UnitFileState", "FragmentPath") == {
        "Id": UNIT, "UnitFileState": "enabled", "FragmentPath": f"/lib/systemd/system/{UNIT}"}
    status = server.run(["systemctl", "status", "bitfusion", "--no-pager"])
    assert status.returncode == 0 and f"{UNIT} - Bitfusion manager" in status.stdout
    assert eventually(lambda: works(server), PATIENCE)


def test_logs_to_the_journal(server):
    """SVC-08."""
    assert eventually(lambda: logged(server, "Resource scheduler at 0.0.0.0 port 56001"), NO_HANG)


def test_has_no_privileges(server):
    """ARC-02: what the kernel says of the daemon."""
    assert eventually(lambda: works(server), PATIENCE)
    pid = shown(server, "MainPID")["MainPID"]
    status = dict(re.findall(r"^(\w+):\s*(.*)$", server.do("cat", f"/proc/{pid}/status"), re.MULTILINE))
    user = server.do("id", "-u", "bitfusion-server").strip()
    assert user != "0" and set(status["Uid"].split()) == {user}
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert server.do("stat", "-c", "%U %a", "/var/lib/bitfusion").strip() == "bitfusion-server 700"
    # Where it is, everything but its folder and the temporary ones is read-only.
    mounts = server.do("cat", f"/proc/{pid}/mounts").splitlines()
    options = {line.split()[1]: line.split()[3].split(",") for line in mounts}
    assert "ro" in options["/"] and "rw" in options["/var/lib/bitfusion"]


def test_reload_reads_the_settings_again(server):
    """SVC-09, ARC-19: those that the guide shows."""
    assert eventually(lambda: works(server), PATIENCE)
    before = shown(server, "MainPID")
    page = (ROOT / "docs" / "configuration.md").read_text()
    settings = json.loads(re.search(r"^ {4}\{\n.*?^ {4}\}$", page, re.DOTALL | re.MULTILINE)[0])
    assert settings["accept_requests"]
    for accepts in (False, True):
        settings["accept_requests"] = accepts
        server.path("/var/lib/bitfusion/settings.json").write_text(json.dumps(settings))
        server.do("chown", "bitfusion-server", "/var/lib/bitfusion/settings.json")
        server.do("systemctl", "reload", "bitfusion")
        assert eventually(lambda: is_draining(server) != accepts, NO_HANG)
    assert logged(server, "Settings read again.")
    server.do("rm", "/var/lib/bitfusion/settings.json")
    assert shown(server, "MainPID") == before


def is_draining(server):
    listed = json.loads(server.run(["bitfusion", "list_gpus", "-l", "127.0.0.1", "--json"], "ada").stdout)
    return listed["servers"][0]["is_draining"]


def test_stop_ends_programs_and_start_serves_again(server):
    """SVC-07: a program that runs gets an error, and does not hang."""
    assert eventually(lambda: works(server), PATIENCE)
    program = server.start(["bitfusion", "run", "-n", "1", "--quiet", "--", "/mnt/1/endless"], "ada")
    program.wait_for_line("waiting")
    server.do("systemctl", "stop", "bitfusion")
    finished = program.wait(NO_HANG)
    assert finished.returncode == 1 and "cudaDeviceSynchronize" in finished.stderr, str(finished)
    assert shown(server, "ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    assert server.run(["bitfusion", "list_gpus"], "ada").returncode == 69
    server.do("systemctl", "start", "bitfusion")
    assert eventually(lambda: works(server), PATIENCE)


def test_is_started_again_when_it_dies(server):
    """SVC-01: with all its processes."""
    assert eventually(lambda: works(server), PATIENCE)
    before = shown(server, "MainPID")["MainPID"]
    server.do("kill", "-KILL", before)
    assert eventually(lambda: works(server), PATIENCE)
    assert shown(server, "MainPID")["MainPID"] not in (before, "0")


def test_wrong_options_are_not_tried_again(server):
    """SVC-09: the journal has the reason; with the options put right, restart helps."""
    assert eventually(lambda: works(server), PATIENCE)
    server.do("sh", "-c", "echo 'BITFUSION_MANAGER_OPTIONS=--soft-gpu many' >/etc/bitfusion/manager.env")
    server.run(["systemctl", "restart", "bitfusion"])
    assert eventually(lambda: shown(server, "ActiveState")["ActiveState"] == "failed", NO_HANG)
    assert logged(server, "--soft-gpu 'many' is not a number of GPUs")
    server.do("sh", "-c", "echo 'BITFUSION_MANAGER_OPTIONS=--soft-gpu 1x512' >/etc/bitfusion/manager.env")
    server.do("systemctl", "restart", "bitfusion")
    assert eventually(lambda: works(server), PATIENCE)


def test_an_upgrade_restarts_it_and_a_removal_stops_it(server, debs):
    """SVC-01, SVC-07: the processes of one version cannot start workers of another."""
    assert eventually(lambda: works(server), PATIENCE)
    before = shown(server, "MainPID")["MainPID"]
    package = f"/mnt/0/{debs['bitfusion-server'].name}"
    server.do("dpkg", "--no-triggers", "--install", package)
    assert eventually(lambda: works(server), PATIENCE)
    assert shown(server, "MainPID")["MainPID"] != before
    server.do("dpkg", "--no-triggers", "--remove", "bitfusion-server")
    assert not is_active(server) and server.run(["pgrep", "bitfusion-server"]).returncode == 1
    server.do("dpkg", "--no-triggers", "--install", package)
    assert eventually(lambda: works(server), PATIENCE)
