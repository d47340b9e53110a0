# SPDX-License-Identifier: Apache-2.0
"""health and localhealth on real daemons: which checks a node runs, what is printed, and the exit status.

What this machine is like is not asserted; each test breaks something itself and looks for that.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess

import pytest
from conftest import BITFUSION, NO_HANG, SOFT, TREE, Manager, environment, eventually, run

STATUSES = ["pass", "marginal", "fatal"]
MEMBERS = {"name", "type", "status", "value", "threshold", "detail", "remedy", "enabled", "ts"}
CLIENT_CHECKS = {
    "network", "gpu_api", "bogomips", "hostmem", "iface_compat", "mtu", "ulimit_n", "diskspace", "install", "shadow_mem",
    "cuda_version", "libdep", "servers_reachable", "clock_skew"}
SERVER_CHECKS = (CLIENT_CHECKS - {"servers_reachable", "clock_skew"}) | {
    "store_buckets", "store_node_num", "store_status", "store_replication", "compute_mode", "ecc", "pci_nvml", "pci_p2p",
    "temperature", "vcenter_check", "xid", "nvidia_stats", "nvidia_topo", "pci_width", "pciinfo", "driver_version"}


@pytest.fixture
def home(tmp_path):
    return environment(HOME=tmp_path, XDG_CACHE_HOME="", XDG_RUNTIME_DIR="")


@pytest.fixture
def nobody():
    """An address at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{probe.getsockname()[1]}"


def check(report, name):
    found, = [check for check in report["checks"] if check["name"] == name]
    return found


def worst(statuses):
    return max(("pass" if status == "skipped" else status for status in statuses), key=STATUSES.index)


def assert_is_report(report, role, names):
    assert report["role"] == role and report["hostname"] == socket.gethostname() and report["version"]
    assert {check["name"] for check in report["checks"]} == names
    for found in report["checks"]:
        assert set(found) == MEMBERS and found["detail"] and found["enabled"] is True, found
        assert (found["remedy"] is not None) == (found["status"] in ("marginal", "fatal")), found
    assert report["status"] == worst(found["status"] for found in report["checks"])


def local(words, env):
    """`localhealth --json`, and whether its exit status is that of the report."""
    finished = run([BITFUSION, "localhealth", "--json", *words], env)
    report = json.loads(finished.stdout)
    assert finished.returncode == STATUSES.index(report["status"]) and finished.stderr == "", str(finished)
    return report


# localhealth

@pytest.mark.parametrize("alias", ["localhealth", "LH"])
def test_localhealth_on_a_client(manager, home, alias):
    """CLI-48, CLI-61: the checks of a client, with the servers of its list."""
    finished = run([BITFUSION, alias, "--client", "--json", "-l", manager.address], home)
    report = json.loads(finished.stdout)
    assert_is_report(report, "client", CLIENT_CHECKS)
    assert finished.returncode == STATUSES.index(report["status"])
    for name in ("servers_reachable", "clock_skew", "gpu_api", "cuda_version", "libdep"):
        assert check(report, name)["status"] == "pass", check(report, name)
    assert check(report, "servers_reachable")["value"] == "1 of 1"


def test_localhealth_is_a_clients_where_no_daemon_has_a_folder(home, tmp_path):
    """CLI-48."""
    assert local(["--data-dir", tmp_path / "none"], home)["role"] == "client"


def test_localhealth_on_a_server(shared_gpu, home):
    """CLI-48: where the daemon's folder is; its process, its driver."""
    report = local(["--data-dir", shared_gpu.folder], home)
    assert_is_report(report, "server", SERVER_CHECKS)
    assert "the daemon may open" in check(report, "ulimit_n")["detail"]
    assert check(report, "gpu_api")["status"] == "pass", check(report, "gpu_api")
    assert check(report, "compute_mode")["detail"] == "GPU 0: Default"
    for name in ("store_buckets", "vcenter_check", "pci_nvml", "driver_version", "temperature", "ecc"):
        assert check(report, name)["status"] == "skipped", check(report, name)
    forced = local(["--data-dir", shared_gpu.folder, "--client"], home)
    assert forced["role"] == "client"


def test_a_daemon_that_is_dead_is_fatal(home):
    """HC-24: what a killed daemon has left does not look like a running one."""
    daemon = Manager("1x64")
    try:
        os.kill(daemon.running.pid, signal.SIGKILL)
        daemon.running.wait()
        report = local(["--data-dir", daemon.folder], home)
        assert check(report, "install")["status"] == "fatal", check(report, "install")
        assert "the daemon does not run" in check(report, "install")["detail"]
        # Its GPUs are still known.
        assert check(report, "gpu_api")["status"] == "pass", check(report, "gpu_api")
    finally:
        shutil.rmtree(daemon.folder, ignore_errors=True)


def test_settings_that_are_wrong_are_fatal(shared_gpu, home):
    """HC-24."""
    settings = pathlib.Path(shared_gpu.folder, "settings.json")
    settings.write_text("{")
    found = check(local(["--data-dir", shared_gpu.folder], home), "install")
    assert found["status"] == "fatal" and str(settings) in found["detail"], found


def test_few_open_files_are_fatal(home):
    """HC-22, CLI-48: on a client the user's hard limit, since the launcher raises the soft one."""
    words = [BITFUSION, "localhealth", "--client", "--json"]
    finished = run(["bash", "-c", 'ulimit -n 2048 && exec "$@"', "bash", *words], home)
    found = check(json.loads(finished.stdout), "ulimit_n")
    assert finished.returncode == 2 and (found["status"], found["value"]) == ("fatal", "2048"), str(finished)
    soft = run(["bash", "-c", 'ulimit -Sn 2048 && exec "$@"', "bash", *words], home)
    assert check(json.loads(soft.stdout), "ulimit_n")["value"] != "2048"


def test_few_open_files_of_a_daemon_are_fatal(home):
    """HC-22: the daemon's limit counts, not that of whoever asks."""
    daemon = Manager("1x64", before=["bash", "-c", 'ulimit -n 2048 && exec "$@"', "bash"])
    try:
        found = check(local(["--data-dir", daemon.folder], home), "ulimit_n")
        assert (found["status"], found["value"]) == ("fatal", "2048"), found
        finished = run([BITFUSION, "health", "-l", daemon.address, "--client"], home)
        assert finished.returncode == 2 and "the daemon may open 2048 files" in finished.stdout, str(finished)
    finally:
        daemon.stop()


def test_a_missing_file_is_fatal_and_a_changed_one_marginal(home, tmp_path):
    """HC-24, HC-28: on a copy of the installed tree."""
    copy = tmp_path / "copy"
    shutil.copytree(TREE, copy, copy_function=shutil.copy2)
    command = [copy / "bin" / "bitfusion", "localhealth", "--client", "--json"]
    library = copy / "lib" / "bitfusion" / "client" / "libnvidia-ml.so.1"
    with open(library, "ab") as file:
        file.write(b"#")
    changed = check(json.loads(run(command, home).stdout), "install")
    assert changed["status"] == "marginal" and "libnvidia-ml.so.1" in changed["detail"], changed
    library.unlink()
    finished = run(command, home)
    report = json.loads(finished.stdout)
    assert finished.returncode == 2 and check(report, "install")["status"] == "fatal"
    assert "libnvidia-ml.so.1" in check(report, "install")["detail"]
    assert check(report, "libdep")["status"] == "fatal" and "libnvidia-ml.so.1" in check(report, "libdep")["detail"]


def test_counters_have_a_baseline_once(home):
    """HC-06."""
    first, second = (check(local(["--client"], home), "network") for _ in range(2))
    assert "TCP: baseline taken" in first["detail"] and "segments were sent again" in second["detail"], (first, second)


def test_a_home_that_cannot_be_written_is_no_obstacle(home, tmp_path):
    """HC-06: counters are kept elsewhere then."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    changed = home | {"XDG_CACHE_HOME": str(blocked), "XDG_RUNTIME_DIR": str(runtime)}
    assert "baseline" in check(local(["--client"], changed), "network")["detail"]
    assert (runtime / "bitfusion" / "health-counters.json").exists()


def test_a_malformed_list_is_fatal(home, tmp_path):
    """HC-24: the user's own file; one of the command line is wrong usage, as everywhere."""
    (tmp_path / ".bitfusion").mkdir()
    (tmp_path / ".bitfusion" / "servers.conf").write_text("10.0.0.1:x\n")
    found = check(local(["--client"], home), "install")
    assert found["status"] == "fatal" and "servers.conf line 1" in found["detail"], found
    for command in ("health", "localhealth"):
        finished = run([BITFUSION, command, "--client", "-l", "a:b:c:x"], home)
        assert finished.returncode == 78 and len(finished.stderr.splitlines()) == 1, str(finished)


def test_no_list_is_marginal(home):
    if os.path.exists("/etc/bitfusion/servers.conf"):
        pytest.skip("this machine has a list of its own")
    found = check(local(["--client"], home), "servers_reachable")
    assert found["status"] == "marginal" and "no servers are known" in found["detail"], found


# A server whose management library is in a bad way

@pytest.fixture
def broken_server(tmp_path):
    """The data folder of a server whose libnvidia-ml.so.1 starts as a body in C says."""
    compiler = shutil.which("cc") or shutil.which("clang")
    if not compiler:
        pytest.skip("there is no C compiler")

    def make(body):
        driver, folder = tmp_path / "driver", tmp_path / "data"
        driver.mkdir()
        folder.mkdir()
        shutil.copy(SOFT / "libcuda.so.1", driver)
        source = tmp_path / "nvml.c"
        source.write_text("#include <unistd.h>\n"
                          f"unsigned nvmlInit_v2(void) {{ {body} }}\n"
                          "unsigned nvmlDeviceGetCount_v2(unsigned *count) { *count = 0; return 0; }\n")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", driver / "libnvidia-ml.so.1", source], check=True)
        (folder / "manager.json").write_text(json.dumps({
            "pid": 1, "srs_port": 1, "dispatcher_port": 1, "driver": str(driver / "libcuda.so.1"), "soft_gpu": "1x64"}))
        return folder

    return make


def test_a_management_library_that_hangs_hangs_nobody(broken_server, home):
    """HC-05: what it does not tell is marginal, with the reason."""
    finished = run([BITFUSION, "localhealth", "--json", "--data-dir", broken_server("sleep(600); return 0;")], home)
    assert finished.seconds < NO_HANG, str(finished)
    report = json.loads(finished.stdout)
    found = check(report, "compute_mode")
    assert found["status"] == "marginal" and "do not answer within 2000 ms" in found["detail"], found
    assert check(report, "bogomips")["detail"]


def test_a_management_library_of_another_version_is_fatal(broken_server, home):
    """HC-08: NVML_ERROR_LIB_RM_VERSION_MISMATCH, as after an update of the driver without a restart."""
    report = local(["--data-dir", broken_server("return 18;")], home)
    found = check(report, "gpu_api")
    assert found["status"] == "fatal" and "another version than the kernel module" in found["detail"], found
    assert check(report, "nvidia_stats")["status"] == "marginal"


def test_a_management_library_without_its_functions_is_fatal(broken_server, home):
    """HC-28."""
    folder = broken_server("return 0;")
    library = pathlib.Path(json.loads((folder / "manager.json").read_text())["driver"]).with_name("libnvidia-ml.so.1")
    library.write_bytes(b"no library")
    found = check(local(["--data-dir", folder], home), "libdep")
    assert found["status"] == "fatal" and "libnvidia-ml.so.1" in found["detail"], found


# health

@pytest.mark.parametrize("alias", ["health", "H"])
def test_health_prints_every_node(manager, shared_gpu, home, alias):
    """CLI-47, CLI-74, UI-40: this node and each server of -l, a line a check, a summary a node."""
    addresses = [manager.address, shared_gpu.address]
    finished = run([BITFUSION, alias, "--client", "-l", ";".join(addresses)], home)
    blocks = finished.stdout.rstrip("\n").split("\n\n")
    assert [block.split(":")[0] for block in blocks] == ["this node"] + [
        f"server {address}".split(":")[0] for address in addresses], str(finished)
    for block, names in zip(blocks, (CLIENT_CHECKS, SERVER_CHECKS, SERVER_CHECKS)):
        heading, *lines, summary = block.splitlines()
        rows = [re.fullmatch(
            r"  (pass|skipped|marginal|fatal) +(Stability|Performance|System resources|Software version) +(\w+) +(\S.*)", line)
            for line in lines if not line.startswith("            -> ")]
        assert all(rows) and {row[3] for row in rows} == names, block
        status = worst(row[1] for row in rows)
        assert re.match(f"  overall {status}: ", summary), block
        remedies = sum(line.startswith("            -> ") for line in lines)
        assert remedies == sum(row[1] in ("marginal", "fatal") for row in rows)
    overall = worst(re.search(r"^  overall (\w+):", block, re.MULTILINE)[1] for block in blocks)
    assert finished.returncode == STATUSES.index(overall) and finished.stderr == ""
    assert finished.seconds < NO_HANG


def test_health_as_json(manager, home):
    """CLI-47."""
    finished = run([BITFUSION, "health", "--client", "--json", "-l", manager.address], home)
    said = json.loads(finished.stdout)
    assert [node["node"] for node in said["nodes"]] == ["this node", f"server {manager.address}"]
    assert_is_report(said["nodes"][0]["report"], "client", CLIENT_CHECKS)
    assert_is_report(said["nodes"][1]["report"], "server", SERVER_CHECKS)
    assert all(node["status"] == node["report"]["status"] and node["error"] is None for node in said["nodes"])
    assert said["status"] == worst(node["status"] for node in said["nodes"])
    assert finished.returncode == STATUSES.index(said["status"])


def test_health_of_a_list_in_a_file(shared_gpu, home, tmp_path):
    """CLI-74: -s, before and behind the command."""
    file = tmp_path / "servers"
    file.write_text(f"{shared_gpu.address}\n")
    for words in (["health", "-s", file], ["-s", file, "health"]):
        finished = run([BITFUSION, *words, "--client"], home)
        assert f"server {shared_gpu.address}: " in finished.stdout, str(finished)


def test_a_server_that_is_not_reached_is_fatal(shared_gpu, nobody, home):
    """CLI-47, CLI-74: it has its line, and the others are asked all the same."""
    finished = run([BITFUSION, "health", "--client", "-l", f"{nobody},{shared_gpu.address}"], home)
    assert finished.returncode == 2, str(finished)
    assert f"server {nobody}: unreachable\n  overall fatal: server {nobody} is not reached" in finished.stdout
    assert f"server {shared_gpu.address}: {socket.gethostname()}, server" in finished.stdout
    assert "  marginal  Stability         servers_reachable  server" in finished.stdout
    as_json = run([BITFUSION, "health", "--client", "--json", "-l", nobody], home)
    said = json.loads(as_json.stdout)
    assert as_json.returncode == 2 and said["status"] == "fatal"
    assert said["nodes"][1]["report"] is None and nobody in said["nodes"][1]["error"]
    assert check(said["nodes"][0]["report"], "servers_reachable")["status"] == "fatal"


def test_a_server_that_hangs_is_fatal_soon(home):
    """CLI-47: somebody accepts the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        finished = run([BITFUSION, "localhealth", "--client", "--json", "-l", address], home)
        assert finished.seconds < NO_HANG, str(finished)
        found = check(json.loads(finished.stdout), "servers_reachable")
        assert found["status"] == "fatal" and "does not answer" in found["detail"], found


def test_a_server_checks_itself_once_for_many_clients(shared_gpu, home):
    """Outcomes are kept for some seconds, and are taken anew afterwards."""
    def stamp():
        finished = run([BITFUSION, "health", "--client", "--json", "-l", shared_gpu.address], home)
        return {check["ts"] for check in json.loads(finished.stdout)["nodes"][1]["report"]["checks"]}

    first = stamp()
    assert len(first) == 1 and stamp() == first
    assert eventually(lambda: stamp() != first, 10, every=0.5)


def test_the_daemon_loads_no_driver(shared_gpu, home):
    """Its checks are those of processes of their own."""
    run([BITFUSION, "health", "--client", "-l", shared_gpu.address], home)
    maps = pathlib.Path(f"/proc/{shared_gpu.running.pid}/maps").read_text()
    assert "libcuda" not in maps and "libnvidia-ml" not in maps


def test_wrong_usage(home):
    finished = run([BITFUSION, "localhealth", "--client", "--server"], home)
    assert finished.returncode == 64 and "exclude each other" in finished.stderr and len(finished.stderr.splitlines()) == 1
    missing = run([BITFUSION, "localhealth", "--server", "--data-dir", "/nowhere/at/all"], home)
    assert missing.returncode == 78 and "/nowhere/at/all" in missing.stderr and len(missing.stderr.splitlines()) == 1
