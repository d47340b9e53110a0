# SPDX-License-Identifier: Apache-2.0
"""request_gpus, client and release_gpus: an allocation that outlives the command that asked for it."""
import json
import os
import pathlib
import re
import signal
import stat
import subprocess

import pytest
from conftest import (BITFUSION, FREED_WITHIN, NO_HANG, PATIENCE, PROGRAMS, Running, environment, eventually,
                      program_below, run)

USAGE, NO_SERVER, NO_GPUS, WRONG_FILE = 64, 69, 75, 78


class User:
    """A user with a home folder of its own, who types commands for one server."""

    def __init__(self, home, daemon):
        self.home, self.daemon = home, daemon
        (home / ".bitfusion").mkdir()
        (home / ".bitfusion" / "servers.conf").write_text(daemon.address.replace(":", " ") + " # the only one\n")

    def environment(self, **changes):
        return environment(HOME=self.home, **changes)

    def types(self, *words, env=None, timeout=PATIENCE):
        return run([BITFUSION, *words], env or self.environment(), timeout)

    def starts(self, cleanup, *words, env=None):
        running = Running([BITFUSION, *words], env or self.environment())
        cleanup.append(running)
        return running

    def requests(self, *options, env=None):
        finished = self.types("request_gpus", *options, env=env)
        assert finished.returncode == 0, str(finished)
        return finished

    def files(self):
        return sorted((self.home / ".bitfusion" / "allocations").glob("*.json"))

    def holder(self, file=None):
        return json.loads((file or self.files()[-1]).read_text())["holder"]["pid"]


@pytest.fixture
def user(tmp_path, shared_gpu):
    """Whatever a test leaves allocated is released."""
    user = User(tmp_path, shared_gpu)
    yield user
    for file in user.files():
        user.types("release_gpus", "-q", "-f", file)


def test_one_by_one(user):
    """CLI-05, CLI-28, CLI-29, CLI-32..38, CLI-73, CLI-75, CLI-76, CFG-16: the three commands, as a user types them."""
    requested = user.requests("-n", 1, "-m", 1024)
    file, = user.files()
    assert requested.stdout == ""
    assert requested.stderr == ("Requested resources:\n"
                                f"Server List: {user.daemon.address}\n"
                                "Client idle timeout: 0 min\n"
                                f"configuration saved to {file}\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert user.daemon.free_mebibytes() == [3072]
    for words in (["client", PROGRAMS / "memory_limit", 1024], ["c", "--", PROGRAMS / "memory_limit", 1024],
                  ["client", f"{PROGRAMS / 'memory_limit'} 1024"]):
        finished = user.types(*words)
        assert (finished.returncode, finished.stderr) == (0, ""), str(finished)
    assert user.daemon.free_mebibytes() == [3072]
    released = user.types("release_gpus")
    assert released.returncode == 0, str(released)
    assert user.daemon.free_mebibytes() == [4096] and user.files() == []
    again = user.types("release_gpus")
    assert again.returncode == NO_SERVER and "there is no allocation" in again.stderr, str(again)
    assert len(again.stderr.splitlines()) == 1
    quiet = user.types("release_gpus", "-q")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    without = user.types("client", "true")
    assert without.returncode == NO_SERVER and "request_gpus" in without.stderr, str(without)


def test_several_applications_at_once(user, cleanup, tmp_path):
    """CLI-14, CLI-34: each has a worker of its own; they share the partition."""
    user.requests("-n", 1, "-m", 2048, "--quiet")
    stop = tmp_path / "stop"
    applications = [user.starts(cleanup, "client", PROGRAMS / "busy", 60, 64, stop) for _ in range(2)]
    for application in applications:
        application.wait_for_line("started")
    workers = {user.daemon.worker_serving(program_below(one.pid, "busy")) for one in applications}
    assert None not in workers and len(workers) == 2
    assert user.daemon.gpus()["running_tasks"] == 1
    stop.touch()
    for application in applications:
        finished = application.wait(NO_HANG * 4)
        assert finished.returncode == 0 and finished.stdout.endswith("ok busy\n"), str(finished)


def test_from_a_job_of_a_scheduler(user):
    """CLI-28: a job step has another session, and of the environment nothing but HOME."""
    user.requests("-n", 1)
    step = subprocess.run([BITFUSION, "client", PROGRAMS / "vector_add"], env={"HOME": str(user.home)}, cwd="/",
                          start_new_session=True, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert step.returncode == 0 and "ok vector_add" in step.stdout, step.stderr
    epilog = subprocess.run([BITFUSION, "release_gpus"], env={"HOME": str(user.home)}, start_new_session=True,
                            timeout=PATIENCE, check=False)
    assert epilog.returncode == 0 and user.daemon.is_idle()


def test_export(user):
    """CLI-30: a variable names the allocation, and wins over the newest one."""
    script = ('eval "$("$1" request_gpus -n 1 -m 100 --export --quiet)"; "$1" request_gpus -n 1 -m 200 --quiet; '
              '"$1" client "$2" 100 && "$1" release_gpus && "$1" client "$2" 200; status=$?; '
              'unset BITFUSION_ALLOCATION; "$1" client "$2" 200; exit $((status * 10 + $?))')
    finished = run(["bash", "-c", script, "bash", BITFUSION, PROGRAMS / "memory_limit"], user.environment())
    # After the release the variable names an allocation that is gone; it is not replaced by another one in secret.
    assert finished.returncode == (NO_SERVER * 10) % 256, str(finished)
    assert finished.stdout.count("ok memory_limit") == 2, str(finished)
    assert user.daemon.free_mebibytes() == [3896]


def test_export_is_one_line_for_any_shell(user):
    exported = user.requests("-n", 1, "--export")
    file, = user.files()
    assert exported.stdout == f"export BITFUSION_ALLOCATION={file}\n"
    by_id = user.types("client", "true", env=user.environment(BITFUSION_ALLOCATION=file.stem))
    assert by_id.returncode == 0, str(by_id)


def test_the_newest_is_the_current_one(user):
    user.requests("-n", 1, "-m", 100)
    user.requests("-n", 1, "-m", 200)
    assert user.types("client", PROGRAMS / "memory_limit", 200).returncode == 0
    user.types("release_gpus")
    assert user.types("client", PROGRAMS / "memory_limit", 100).returncode == 0


def test_release_by_file(user):
    """B-11."""
    user.requests("-n", 1, "-m", 100)
    first, = user.files()
    user.requests("-n", 1, "-m", 200)
    assert user.types("release_gpus", "-f", first).returncode == 0
    assert user.daemon.free_mebibytes() == [3896]
    assert first not in user.files() and len(user.files()) == 1


def test_a_shell_in_an_allocation(user):
    """B-12: what the shell starts has the GPUs too."""
    finished = run([BITFUSION, "run", "--quiet", "-n", "1", "--", "bash", "-c", f"{PROGRAMS / 'vector_add'} && {PROGRAMS / 'vector_add'}"],
                   user.environment())
    assert finished.returncode == 0 and finished.stdout.count("ok vector_add") == 2, str(finished)


def test_release_ends_what_still_runs(user, cleanup):
    user.requests("-n", 1)
    application = user.starts(cleanup, "client", PROGRAMS / "endless")
    application.wait_for_line("waiting")
    sleeper = user.starts(cleanup, "client", "sleep", 300)
    assert user.types("release_gpus").returncode == 0
    assert user.daemon.is_idle()
    assert application.wait(NO_HANG).returncode != 0
    ended = sleeper.wait(NO_HANG)
    assert ended.returncode == 128 + signal.SIGTERM and "allocation has ended" in ended.stderr, str(ended)


def test_the_holder_survives_its_session(user):
    """It is neither in the shell's session nor does it keep the shell's output open."""
    output = subprocess.run([BITFUSION, "request_gpus", "-n", "1"], env=user.environment(), start_new_session=True,
                            capture_output=True, text=True, timeout=NO_HANG, check=True)
    assert "configuration saved" in output.stderr
    holder = user.holder()
    assert os.getsid(holder) == holder
    os.kill(holder, 0)


def test_kill_of_the_holder(user):
    user.requests("-n", 1)
    os.kill(user.holder(), signal.SIGKILL)
    assert eventually(user.daemon.is_idle, FREED_WITHIN)
    finished = user.types("client", "true")
    assert finished.returncode == NO_SERVER and "is gone" in finished.stderr, str(finished)
    assert user.daemon.address in finished.stderr and user.files() == []


def test_restart_of_the_server(user, shared_gpu):
    user.requests("-n", 1)
    holder = user.holder()
    shared_gpu.stop()
    assert eventually(lambda: not alive(holder), NO_HANG)
    finished = user.types("client", "true")
    assert finished.returncode == NO_SERVER and shared_gpu.address in finished.stderr, str(finished)
    assert "has ended" in finished.stderr and user.files() == []


def test_release_from_another_machine(user):
    """Where the holder cannot be reached, the server is asked with the ticket; the holder ends with the allocation."""
    user.requests("-n", 1)
    file, = user.files()
    holder = user.holder()
    description = json.loads(file.read_text())
    description["holder"]["hostname"] = "another.example"
    file.write_text(json.dumps(description))
    assert user.types("client", "--quiet", "--", PROGRAMS / "vector_add").returncode == 0
    released = user.types("release_gpus", "-f", file)
    assert released.returncode == 0, str(released)
    assert user.daemon.is_idle() and eventually(lambda: not alive(holder), NO_HANG)
    user.types("release_gpus", "-q")
    assert user.files() == []


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_interrupted_while_waiting(user, cleanup):
    """Ctrl-C while request_gpus waits leaves nothing behind, not even a place in the queue."""
    user.requests("-n", 1)
    waiting = user.starts(cleanup, "request_gpus", "-n", 1)
    assert eventually(lambda: user.daemon.gpus()["waiting_tasks"] == 1, NO_HANG)
    waiting.process.send_signal(signal.SIGINT)
    assert waiting.wait(NO_HANG).returncode != 0
    assert eventually(lambda: user.daemon.gpus()["waiting_tasks"] == 0, FREED_WITHIN)
    assert len(user.files()) == 1


def test_no_gpus_in_time(user):
    user.requests("-n", 1)
    finished = user.types("request_gpus", "-n", 1, "-t", 0)
    assert finished.returncode == NO_GPUS and user.daemon.address in finished.stderr, str(finished)
    assert len(user.files()) == 1


@pytest.mark.parametrize("options", [[], ["-n", "0"], ["-n", "1", "-m", "1", "-p", "0.5"], ["-n", "1", "extra"]])
def test_wrong_usage(user, options):
    finished = user.types("request_gpus", *options)
    assert finished.returncode == USAGE and len(finished.stderr.splitlines()) == 1, str(finished)
    assert "request_gpus" in finished.stderr and user.daemon.is_idle()


@pytest.mark.parametrize("change", ["mode", "text", "link", "ticket"])
def test_a_file_that_cannot_be_believed(user, tmp_path, change):
    user.requests("-n", 1)
    file, = user.files()
    copy = tmp_path / "copy.json"
    copy.write_text(file.read_text())
    copy.chmod(0o600)
    if change == "mode":
        copy.chmod(0o644)
    elif change == "text":
        copy.write_text("{\"version\": 1, \"server\": \"x\"}")
    elif change == "ticket":
        copy.write_text(re.sub(r'("ticket" : ")\w+', r"\1../../etc", file.read_text()))
    else:
        copy.unlink()
        copy.symlink_to(file)
    for words in (["client", "true"], ["release_gpus"]):
        finished = user.types(*words, env=user.environment(BITFUSION_ALLOCATION=copy))
        assert finished.returncode == WRONG_FILE and str(copy) in finished.stderr, str(finished)
        assert len(finished.stderr.splitlines()) == 1
    assert not user.daemon.is_idle()


def test_without_a_writable_home(user, tmp_path):
    """CFG-16: nothing has to be written into the home folder."""
    session = tmp_path / "session"
    session.mkdir(mode=0o700)
    # Nobody, not even root, makes a folder below a file.
    home = tmp_path / "file"
    home.write_text("")
    env = environment(HOME=home, XDG_RUNTIME_DIR=session)
    requested = user.types("request_gpus", "-n", 1, "-l", user.daemon.address, env=env)
    assert requested.returncode == 0 and f"saved to {session}/bitfusion/allocations/" in requested.stderr, str(requested)
    assert user.types("client", PROGRAMS / "vector_add", env=env).returncode == 0
    assert user.types("release_gpus", env=env).returncode == 0
    assert user.daemon.is_idle()


def test_options_of_run_are_those_of_its_parts():
    """CLI-31."""
    dumped = json.loads(run([BITFUSION, "--experimental-dump-help"]).stdout)
    options = {}
    for command in dumped["command"]["subcommands"]:
        options[command["commandName"]] = {argument["preferredName"]["name"] for argument in command["arguments"]
                                           if argument["kind"] != "positional"}
    # How the result of request_gpus is printed is no option of a request.
    assert options["run"] == (options["request_gpus"] | options["client"]) - {"export"}
