# SPDX-License-Identifier: Apache-2.0
"""The packages as they are installed, used, upgraded and removed, on a copy of this machine."""
import configparser
import json
import os
import re
import shutil
import subprocess

import pytest
import scratch_system
from conftest import NO_HANG, PATIENCE, PROGRAMS, eventually

WHY_NOT = scratch_system.missing()
UNIT = "bitfusion-manager.service"
DPKG = ["dpkg", "--force-unsafe-io", "--no-triggers"]
# What every package leaves: the package manager's own records, and those of users and of manual pages.
RECORDS = (r"/var/lib/dpkg/|/var/log/dpkg.log$|/var/cache/man/|/run/systemd/|"
           r"/etc/(sub[ug]id|g?shadow|passwd|group)-?$|/etc/\.pwd\.lock$")
# `systemd-analyze security`, from 0 to 10; docs/installation.md says it too.
EXPOSURE_MAX = 1.7

needs_system = pytest.mark.skipif(WHY_NOT is not None, reason=f"a scratch system {WHY_NOT}")


def scratch(packages):
    return scratch_system.ScratchSystem(packages["bitfusion-client"].parent, PROGRAMS)


def install(system, packages, *names):
    system.do(*DPKG, "--install", *(f"/mnt/0/{packages[name].name}" for name in names))


@pytest.fixture(scope="module")
def system(debs):
    """All three packages installed, and users: ada is a member of the group, eve is none."""
    made = scratch(debs)
    install(made, debs, "bitfusion-server", "bitfusion-client", "bitfusion-soft-gpu")
    made.do("useradd", "--create-home", "--groups", "bitfusion", "ada")
    made.do("useradd", "--create-home", "eve")
    yield made
    made.end()


@pytest.fixture
def fresh(debs):
    """Nothing installed, for tests that change what is."""
    made = scratch(debs)
    yield made
    made.end()


def owner_and_mode(system, path):
    return system.do("stat", "-c", "%U:%G %a", path).strip()


def unit(system):
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read_string(system.do("cat", f"/lib/systemd/system/{UNIT}"))
    return parser["Service"]


def start_daemon(system, options):
    """Starts the daemon with the words of its unit, as its user and without privileges; waits until it serves."""
    service = unit(system)
    words = service["ExecStart"].replace("$BITFUSION_MANAGER_OPTIONS", options).split()
    user, folder = service["User"], f"/var/lib/{service['StateDirectory']}"
    daemon = system.start(words, user, ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"])

    def ports():
        # It appears at once with its whole text.
        read = system.run(["cat", f"{folder}/manager.json"])
        return json.loads(read.stdout) if read.returncode == 0 else None

    assert eventually(lambda: ports() or daemon.process.poll() is not None, PATIENCE, every=0.1)
    assert daemon.process.poll() is None, str(daemon.wait())
    return daemon, ports()


@needs_system
def test_the_group_owns_the_configuration(system):
    """ARC-06, CFG-17."""
    assert system.run(["getent", "group", "bitfusion"]).returncode == 0
    assert owner_and_mode(system, "/etc/bitfusion") == "root:bitfusion 750"
    assert owner_and_mode(system, "/etc/bitfusion/servers.conf") == "root:bitfusion 640"
    assert owner_and_mode(system, "/etc/bitfusion/manager.env") == "root:root 640"


@needs_system
def test_the_daemon_has_a_user_of_its_own(system):
    """ARC-02."""
    assert owner_and_mode(system, "/var/lib/bitfusion") == "bitfusion-server:bitfusion-server 700"
    entry = system.do("getent", "passwd", "bitfusion-server").strip().split(":")
    assert entry[2] != "0" and entry[6].endswith("nologin")
    assert "video" in system.do("id", "-Gn", "bitfusion-server").split()


@needs_system
def test_limits_hold_for_members_of_the_group(system):
    """ARC-06, CFG-10..14: as a login applies them."""
    if not list(system.path("/lib").glob("*/security/pam_limits.so")):
        pytest.skip("pam_limits is not installed")
    if system.run(["sh", "-c", "ulimit -Hn 100001"]).returncode != 0:
        pytest.skip("root may not raise limits here")
    system.do("sh", "-c", "printf 'auth sufficient pam_permit.so\\naccount sufficient pam_permit.so\\n"
              "session required pam_limits.so\\n' >/etc/pam.d/su")
    shown = "ulimit -Sn; ulimit -Hn; ulimit -Sl; ulimit -Hl; ulimit -Sm; ulimit -Hm"
    assert system.do("su", "ada", "-s", "/bin/bash", "-c", shown).split() == ["100000"] * 2 + ["unlimited"] * 4
    assert system.do("su", "eve", "-s", "/bin/bash", "-c", "ulimit -Sn").strip() != "100000"


@needs_system
def test_the_service_is_enabled_and_has_its_alias(system):
    """SVC-01, SVC-02, SVC-05."""
    for link in ("multi-user.target.wants/bitfusion-manager.service", "bitfusion.service"):
        assert os.readlink(system.path(f"/etc/systemd/system/{link}")) == f"/lib/systemd/system/{UNIT}"
    assert system.run(["systemctl", "is-enabled", UNIT]).stdout == "enabled\n"


@needs_system
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_the_units_are_right(system):
    """SVC-02: systemd finds nothing to say, and the service is confined."""
    verified = system.run(["systemd-analyze", "verify", UNIT, "bitfusion-devices.service"])
    assert verified.returncode == 0 and "bitfusion" not in verified.stdout + verified.stderr, str(verified)
    judged = system.run(["systemd-analyze", "security", "--offline=true", "--no-pager", UNIT])
    exposure = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", judged.stdout)[1])
    assert exposure <= EXPOSURE_MAX, str(judged)
    service = unit(system)
    assert service["NoNewPrivileges"] == "yes" and service["ProtectSystem"] == "strict"
    assert service["StateDirectory"] == "bitfusion" and int(service["LimitNOFILE"]) >= 100000
    assert service["DevicePolicy"] == "closed" and service["DeviceAllow"] == "char-nvidia* rw"


@needs_system
def test_programs_run_from_where_they_are_installed(system):
    """ARC-03, ARC-08: without a daemon, and by any user."""
    assert re.fullmatch(r"Bitfusion version: \S+ release\n", system.run(["bitfusion", "version"], "eve").stdout)
    finished = system.run(["bitfusion", "local", "--soft-gpu", "1x512", "--", "/mnt/1/vector_add"], "eve")
    assert finished.returncode == 0 and "ok vector_add" in finished.stdout, str(finished)


@needs_system
def test_from_the_installation_to_the_first_run(debs):
    """ARC-12, SVC-02, SVC-09: server, client, and the program of a member of the group, in the order of the guide."""
    system = scratch(debs)
    try:
        install(system, debs, "bitfusion-server", "bitfusion-client", "bitfusion-soft-gpu")
        system.do("useradd", "--create-home", "ada")
        daemon, ports = start_daemon(system, "--soft-gpu 1x512 --bind 127.0.0.1 --srs-port 0 --dispatcher-port 0")
        system.do("sh", "-c", f"echo 127.0.0.1:{ports['srs_port']} >>/etc/bitfusion/servers.conf")
        assert owner_and_mode(system, "/etc/bitfusion/servers.conf") == "root:bitfusion 640"
        assert system.run(["bitfusion", "list_gpus"], "ada").returncode == 77
        # The words that the refusal gave.
        system.do("usermod", "-aG", "bitfusion", "ada")
        finished = system.run(["bitfusion", "run", "-n", "1", "--", "/mnt/1/vector_add"], "ada")
        assert finished.returncode == 0 and finished.stdout == "ok vector_add\n", str(finished)
        # What its unit sends on `systemctl reload`.
        system.do(*unit(system)["ExecReload"].replace("$MAINPID", str(daemon.pid)).split())
        daemon.wait_for_line("Settings read again.", NO_HANG)
        system.do("kill", "-TERM", str(daemon.pid))
        assert daemon.wait(NO_HANG).returncode == 0
    finally:
        system.end()


@needs_system
@pytest.mark.parametrize("command", [["list_gpus"], ["run", "-n", "1", "--", "true"], ["request_gpus", "-n", "1"], ["smi"]],
                         ids=lambda command: command[0])
def test_who_is_not_in_the_group_is_refused(system, command):
    """ARC-06: one line that names the group and how to join it."""
    finished = system.run(["bitfusion", *command], "eve")
    assert finished.returncode == 77, str(finished)
    assert finished.stderr == (
        "bitfusion: /etc/bitfusion/servers.conf is for members of the group 'bitfusion' only; "
        "an administrator adds you with 'usermod -aG bitfusion eve', which holds from your next login\n")


@needs_system
def test_who_has_joined_since_the_login_is_told_so(system):
    """ARC-06."""
    words = ["setpriv", "--reuid=ada", "--regid=ada", "--clear-groups", "env", "HOME=/home/ada", "bitfusion", "list_gpus"]
    finished = system.run(words)
    assert finished.returncode == 77 and "'ada' has joined since this login" in finished.stderr, str(finished)


@needs_system
def test_any_list_may_be_for_a_group(system):
    """ARC-06: also the file of -s; where no group is let in, none is named."""
    servers = "/srv/servers.conf"
    system.do("sh", "-c", f"echo 127.0.0.1:9 >{servers}; chown root:daemon {servers}; chmod 640 {servers}")
    finished = system.run(["bitfusion", "list_gpus", "-s", servers], "eve")
    assert finished.returncode == 77 and f"{servers} is for members of the group 'daemon' only" in finished.stderr
    system.do("chmod", "600", servers)
    finished = system.run(["bitfusion", "list_gpus", "-s", servers], "eve")
    assert finished.returncode == 77 and finished.stderr.endswith(f"the server list {servers}: Permission denied\n")


@needs_system
def test_an_upgrade_keeps_what_was_configured(fresh, debs, tmp_path_factory):
    """ARC-02, CFG-17: configuration, data, groups, and whether the service is enabled."""
    install(fresh, debs, "bitfusion-client", "bitfusion-server")
    fresh.do("sh", "-c", "echo 10.0.0.7 >>/etc/bitfusion/servers.conf; echo BITFUSION_MANAGER_OPTIONS=--bind=10.0.0.7"
             " >/etc/bitfusion/manager.env; echo '{}' >/var/lib/bitfusion/settings.json")
    fresh.do("useradd", "--groups", "bitfusion", "ada")
    fresh.do("systemctl", "disable", UNIT)
    kept = ["/etc/bitfusion/servers.conf", "/etc/bitfusion/manager.env", "/var/lib/bitfusion/settings.json"]
    before = fresh.do("sha256sum", *kept)
    folder = fresh.path("/root")
    for name in ("bitfusion-client", "bitfusion-server"):
        unpacked = folder / name
        subprocess.run(["dpkg-deb", "-R", debs[name], unpacked], check=True)
        control = unpacked / "DEBIAN" / "control"
        control.write_text(re.sub(r"(Version: |\(= )\S+-1\b", r"\g<1>99.0-1", control.read_text()))
        subprocess.run(["dpkg-deb", "-Znone", "-b", unpacked, folder / f"{name}.deb"], check=True, capture_output=True)
    fresh.do(*DPKG, "--install", "/root/bitfusion-client.deb", "/root/bitfusion-server.deb")
    assert fresh.do("dpkg-query", "-W", "-f", "${Version} ${Status}", "bitfusion-server") == "99.0-1 install ok installed"
    assert fresh.do("sha256sum", *kept) == before
    assert owner_and_mode(fresh, "/etc/bitfusion/servers.conf") == "root:bitfusion 640"
    assert "bitfusion" in fresh.do("id", "-Gn", "ada").split()
    assert fresh.run(["systemctl", "is-enabled", UNIT]).stdout == "disabled\n"


@needs_system
def test_removing_keeps_the_configuration_and_purging_leaves_nothing(fresh, debs):
    """ARC-02, ARC-03."""
    earlier = fresh.do("cat", "/etc/passwd", "/etc/group")
    install(fresh, debs, "bitfusion-client", "bitfusion-server", "bitfusion-soft-gpu")
    fresh.do("sh", "-c", "echo 10.0.0.7 >>/etc/bitfusion/servers.conf; echo '{}' >/var/lib/bitfusion/settings.json")
    names = ["bitfusion-server", "bitfusion-soft-gpu", "bitfusion-client"]
    fresh.do(*DPKG, "--remove", *names)
    left = {path for path, status in fresh.changed().items() if status and "bitfusion" in path}
    assert {"/etc/bitfusion/servers.conf", "/etc/bitfusion/manager.env", "/var/lib/bitfusion/settings.json",
            "/etc/security/limits.d/bitfusion-limits.conf"} <= left
    assert not [path for path in left if path.startswith(("/usr/bin", "/usr/lib/bitfusion", "/usr/share/man"))]
    fresh.do(*DPKG, "--purge", *names)
    files = {path for path, status in fresh.changed().items() if not (status and status[0].startswith("0o4"))}
    assert {path for path in files if not re.match(RECORDS, path)} == set()
    assert not [path for path in fresh.changed() if "bitfusion" in path]
    assert fresh.do("cat", "/etc/passwd", "/etc/group") == earlier


@needs_system
def test_the_rpm_makes_group_user_and_links(fresh, rpms):
    """ARC-06, SVC-01, SVC-05: the scripts of the other kind of package, without its dependencies."""
    fresh.do("mkdir", "/root/rpms")
    for file in rpms.values():
        shutil.copy(file, fresh.path("/root/rpms"))
    fresh.do("sh", "-c", "rpm --install --nodeps /root/rpms/*.rpm")
    assert owner_and_mode(fresh, "/etc/bitfusion/servers.conf") == "root:bitfusion 640"
    assert owner_and_mode(fresh, "/var/lib/bitfusion") == "bitfusion-server:bitfusion-server 700"
    assert fresh.run(["systemctl", "is-enabled", UNIT]).stdout == "enabled\n"
    assert os.path.lexists(fresh.path("/etc/systemd/system/bitfusion.service"))
    finished = fresh.run(["bitfusion", "local", "--soft-gpu", "1x512", "--", "/mnt/1/vector_add"])
    assert finished.returncode == 0, str(finished)
    fresh.do("rpm", "--erase", "--nodeps", *rpms)
    left = [path for path, status in fresh.changed().items() if status and "bitfusion" in path]
    assert not [path for path in left if path.startswith(("/usr", "/etc/systemd"))], left
