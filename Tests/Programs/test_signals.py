# SPDX-License-Identifier: Apache-2.0
"""Signals, the limit of open files, and the terminal: what reaches the application, and what becomes of its GPUs."""
import fcntl
import os
import pty
import resource
import select
import signal
import subprocess
import termios
import time

import pytest
from conftest import (BITFUSION, FREED_WITHIN, NO_HANG, PATIENCE, PROGRAMS, environment, eventually, program_below, run)


class Terminal:
    """A session on a terminal of its own, whose foreground processes are the command."""

    def __init__(self, command, env=None):
        self.screen, line = pty.openpty()
        self.seen = b""

        def take_terminal():
            os.setsid()
            fcntl.ioctl(line, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen([str(word) for word in command], env=env or environment(), stdin=line, stdout=line,
                                        stderr=line, preexec_fn=take_terminal)
        os.close(line)

    def read_until(self, text, again=False):
        """Waits until the screen has shown a text; `again`: once more than it has."""
        deadline = time.monotonic() + PATIENCE
        if again:
            self.seen = b""
        while text.encode() not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.screen], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.screen, 65536)
                except OSError:
                    pytest.fail(f"'{text}' did not appear: {self.seen!r}")

    def press(self, key):
        os.write(self.screen, key)

    def close(self):
        os.close(self.screen)

    def wait(self, seconds=NO_HANG):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            return pytest.fail(f"hung: {self.seen!r}")


CTRL_C, CTRL_BACKSLASH, CTRL_Z = b"\x03", b"\x1c", b"\x1a"
COUNT_INTERRUPTS = "import signal, time\nseen = []\nsignal.signal(signal.SIGINT, lambda *_: seen.append(1))\n" \
                   "print('ready', flush=True)\nwhile not seen: time.sleep(0.05)\ntime.sleep(0.5)\n" \
                   "print('interrupts', len(seen), flush=True)\nraise SystemExit(7)\n"


@pytest.mark.parametrize("key, number", [(CTRL_C, signal.SIGINT), (CTRL_BACKSLASH, signal.SIGQUIT)])
def test_a_key_ends_the_application_and_frees_the_gpus(shared_gpu, key, number):
    """CLI-04."""
    terminal = Terminal(shared_gpu.command([PROGRAMS / "endless"]))
    terminal.read_until("waiting")
    assert not shared_gpu.is_idle()
    terminal.press(key)
    assert terminal.wait() == 128 + number
    assert eventually(shared_gpu.is_idle, FREED_WITHIN)


def test_ctrl_c_reaches_the_application_once(shared_gpu):
    """The terminal sends it to the whole foreground; the launcher must not send it again, nor end before."""
    terminal = Terminal(shared_gpu.command(["python3", "-c", COUNT_INTERRUPTS]))
    terminal.read_until("ready")
    terminal.press(CTRL_C)
    terminal.read_until("interrupts 1")
    assert terminal.wait() == 7
    assert eventually(shared_gpu.is_idle, FREED_WITHIN)


def state(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


def test_ctrl_z_keeps_the_gpus(shared_gpu):
    """ARC-13: a stopped job is alive; it has its GPUs for longer than a lease lasts, and goes on with them."""
    shell = "set -m; " + " ".join(map(str, shared_gpu.command([PROGRAMS / "endless"]))) + "; echo stopped $?; jobs -p; " \
            "sleep 33; fg; echo ended $?"
    terminal = Terminal(["bash", "-c", shell])
    terminal.read_until("waiting")
    program = program_below(terminal.process.pid, "endless")
    terminal.press(CTRL_Z)
    terminal.read_until("stopped 148")
    assert state(program) == "T"
    terminal.read_until("endless", again=True)
    assert not shared_gpu.is_idle()
    assert eventually(lambda: state(program) != "T", NO_HANG)
    terminal.press(CTRL_C)
    terminal.read_until("ended 130")
    assert terminal.wait() == 0
    assert eventually(shared_gpu.is_idle, FREED_WITHIN)


def test_a_stopped_job_can_be_killed(shared_gpu):
    """ARC-13: whatever keeps the GPUs of a stopped job ends with it."""
    shell = "set -m; " + " ".join(map(str, shared_gpu.command([PROGRAMS / "endless"]))) + "; echo stopped $?; sleep 30"
    terminal = Terminal(["bash", "-c", shell])
    terminal.read_until("waiting")
    launcher = program_below(terminal.process.pid, "bitfusion")
    terminal.press(CTRL_Z)
    terminal.read_until("stopped 148")
    assert not shared_gpu.is_idle()
    os.kill(launcher, signal.SIGKILL)
    assert eventually(shared_gpu.is_idle, FREED_WITHIN)
    os.killpg(terminal.process.pid, signal.SIGKILL)
    terminal.process.wait()


def test_ctrl_c_while_waiting_leaves_the_queue(shared_gpu, cleanup):
    owner = shared_gpu.start([PROGRAMS / "endless"])
    cleanup.append(owner)
    owner.wait_for_line("waiting")
    terminal = Terminal([BITFUSION, "run", "-l", shared_gpu.address, "-n", 1, "--", PROGRAMS / "vector_add"])
    terminal.read_until("position 1")
    terminal.press(CTRL_C)
    assert terminal.wait() != 0
    assert eventually(lambda: shared_gpu.gpus()["waiting_tasks"] == 0, FREED_WITHIN)


def test_the_end_of_the_terminal_ends_the_application(shared_gpu):
    terminal = Terminal(shared_gpu.command([PROGRAMS / "endless"]))
    terminal.read_until("waiting")
    program = program_below(terminal.process.pid, "endless")
    terminal.close()
    terminal.process.wait(NO_HANG)
    assert eventually(lambda: not os.path.exists(f"/proc/{program}"), NO_HANG)
    assert eventually(shared_gpu.is_idle, FREED_WITHIN)


def test_ctrl_c_in_an_allocation_keeps_it(shared_gpu, tmp_path):
    """CLI-34: the application ends, the allocation stays for the next one."""
    env = environment(HOME=tmp_path)
    assert run([BITFUSION, "request_gpus", "-l", shared_gpu.address, "-n", "1", "--quiet"], env).returncode == 0
    try:
        terminal = Terminal([BITFUSION, "client", PROGRAMS / "endless"], env)
        terminal.read_until("waiting")
        terminal.press(CTRL_C)
        assert terminal.wait() == 128 + signal.SIGINT
        assert shared_gpu.gpus()["running_tasks"] == 1
        assert run([BITFUSION, "client", PROGRAMS / "vector_add"], env).returncode == 0
    finally:
        run([BITFUSION, "release_gpus", "-q"], env)
    assert shared_gpu.is_idle()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1])
def test_signals_to_the_launcher_are_passed_on(shared_gpu, cleanup, number):
    """CLI-04: the status is 128 and the signal's number, as a shell has it."""
    running = shared_gpu.start([PROGRAMS / "endless"])
    cleanup.append(running)
    running.wait_for_line("waiting")
    os.kill(running.pid, number)
    assert running.wait(NO_HANG).returncode == 128 + number
    assert eventually(shared_gpu.is_idle, FREED_WITHIN)


def test_kill_of_the_launcher_frees_the_gpus(shared_gpu, cleanup):
    """ARC-13, CLI-04."""
    running = shared_gpu.start([PROGRAMS / "endless"])
    cleanup.append(running)
    running.wait_for_line("waiting")
    program = program_below(running.pid, "endless")
    os.kill(running.pid, signal.SIGKILL)
    assert eventually(shared_gpu.is_idle, FREED_WITHIN)
    assert eventually(lambda: not os.path.exists(f"/proc/{program}"), NO_HANG)


# The limit of open files

def under_limit(soft, hard, command):
    return subprocess.run([str(word) for word in command], env=environment(), capture_output=True, text=True, check=False,
                          timeout=PATIENCE, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)))


PRINT_LIMIT = ["python3", "-c", "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE))"]


def test_the_application_may_open_as_many_files_as_the_system_allows(shared_gpu):
    """CFG-15."""
    finished = under_limit(256, 5000, shared_gpu.command(PRINT_LIMIT))
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "(5000, 5000)\n", "")


def test_a_limit_that_is_too_low_is_named(shared_gpu):
    """CFG-15: in words that name the symptom, unless --quiet."""
    command = [BITFUSION, "run", "-l", shared_gpu.address, "-n", 1, "--", *PRINT_LIMIT]
    finished = under_limit(256, 300, command)
    assert finished.returncode == 0 and finished.stdout == "(300, 300)\n"
    assert "300 open files" in finished.stderr and "4096" in finished.stderr and "ulimit" in finished.stderr
    assert under_limit(256, 300, shared_gpu.command(PRINT_LIMIT)).stderr == ""
