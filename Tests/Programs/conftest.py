# SPDX-License-Identifier: Apache-2.0
"""What the program tests share: the installed tree, a daemon of one's own, and ways to run a program.

Every daemon listens on free ports of 127.0.0.1 and keeps its data in a temporary folder; every process started here
leads a process group and is ended by its number.
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TREE = pathlib.Path(os.environ.get("BITFUSION_TREE", ROOT / ".build" / "tree"))
PROGRAMS = ROOT / ".build" / "programs"
PYTHON = ROOT / ".build" / "python" / "bin" / "python"
BITFUSION = TREE / "bin" / "bitfusion"
SOFT = TREE / "lib" / "bitfusion" / "soft"
CLIENT = TREE / "lib" / "bitfusion" / "client"

# The promises of the product, in seconds.
NO_HANG = 5.0
FREED_WITHIN = 1.0
# What a test waits before it calls something hung: longer than any program takes on a busy two-core machine.
PATIENCE = 60.0


def environment(**changes):
    """This process's environment without what would steer our libraries, and with `changes`. The transport is kept, so
    that any test can be run over each: `BITFUSION_TRANSPORT=tcp Tests/Programs/run`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == "BITFUSION_TRANSPORT"
        or not name.startswith("BITFUSION_") and name not in ("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
    }
    kept.update({name: str(value) for name, value in changes.items()})
    return kept


class Finished:
    """How a process ended."""

    def __init__(self, returncode, stdout, stderr, seconds):
        self.returncode, self.stdout, self.stderr, self.seconds = returncode, stdout, stderr, seconds

    def __str__(self):
        return f"status {self.returncode} after {self.seconds:.1f} s\n-- stdout\n{self.stdout}\n-- stderr\n{self.stderr}"


class Running:
    """A process in a group of its own, with its output in files, so that nothing ever waits for a full pipe."""

    def __init__(self, command, env=None, cwd=None):
        self.output = tempfile.TemporaryFile("w+", errors="replace")
        self.errors = tempfile.TemporaryFile("w+", errors="replace")
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [str(word) for word in command], env=env or environment(), cwd=cwd, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.errors,
        )

    @property
    def pid(self):
        return self.process.pid

    def _read(self, file):
        # The child shares the file's offset: read at a place of our own.
        length = os.fstat(file.fileno()).st_size
        return os.pread(file.fileno(), length, 0).decode(errors="replace")

    def output_so_far(self):
        return self._read(self.output)

    def errors_so_far(self):
        return self._read(self.errors)

    def wait(self, timeout=PATIENCE):
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.end()
            seconds = time.monotonic() - self.started
            finished = Finished("none", self._read(self.output), self._read(self.errors), seconds)
            pytest.fail(f"{self.process.args} hung: {finished}")
        seconds = time.monotonic() - self.started
        return Finished(self.process.returncode, self._read(self.output), self._read(self.errors), seconds)

    def wait_for_line(self, line, timeout=PATIENCE):
        """Waits until the process has printed `line`, and fails if it ends before."""
        deadline = time.monotonic() + timeout
        while line not in self._read(self.output).splitlines():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{self.process.args} did not print '{line}': {self.end()}")
            time.sleep(0.01)

    def end(self):
        """Ends the whole group, if it still runs."""
        if self.process.poll() is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
        seconds = time.monotonic() - self.started
        return Finished(self.process.returncode, self._read(self.output), self._read(self.errors), seconds)


def run(command, env=None, timeout=PATIENCE, cwd=None):
    return Running(command, env, cwd).wait(timeout)


class Manager:
    """A `bitfusion manager` with software GPUs; `before` are words in front of its command, as of a limit, and `command`
    may be another one that serves."""

    def __init__(
        self, soft_gpu, bind="127.0.0.1", ports=(0, 0), folder=None, before=(), command="manager", options=(), env=None
    ):
        self.folder = folder or tempfile.mkdtemp(prefix="bitfusion-test-")
        # What a killed daemon has left there says nothing of the next one.
        pathlib.Path(self.folder, "manager.json").unlink(missing_ok=True)
        self.running = Running(
            [*before, BITFUSION, command, "--data-dir", self.folder, "--soft-gpu", soft_gpu, "--bind", bind,
             "--srs-port", ports[0], "--dispatcher-port", ports[1], *options], env)
        description = pathlib.Path(self.folder) / "manager.json"
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                ports = json.loads(description.read_text())
                self.srs_port, self.dispatcher_port = ports["srs_port"], ports["dispatcher_port"]
                break
            except (OSError, ValueError, KeyError):
                if self.running.process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"the manager did not start: {self.running.end()}")
                time.sleep(0.02)
        self.address = f"[{bind}]:{self.srs_port}" if ":" in bind else f"{bind}:{self.srs_port}"

    def command(self, program, *options):
        """`bitfusion run` of a program on this server."""
        options = [str(option) for option in options] or ["-n", "1"]
        return [BITFUSION, "run", "-l", self.address, "--quiet", *options, "--", *program]

    def run(self, program, *options, timeout=PATIENCE):
        return run(self.command(program, *options), timeout=timeout)

    def start(self, program, *options):
        return Running(self.command(program, *options))

    def gpus(self):
        """The server as `list_gpus --json` describes it."""
        listed = run([BITFUSION, "list_gpus", "-l", self.address, "--json"], timeout=NO_HANG)
        assert listed.returncode == 0, str(listed)
        return json.loads(listed.stdout)["servers"][0]

    def free_mebibytes(self):
        return [gpu["free_mib"] for gpu in self.gpus()["gpus"]]

    def is_idle(self):
        server = self.gpus()
        return server["running_tasks"] == 0 and all(gpu["free_mib"] == gpu["total_mib"] for gpu in server["gpus"])

    def worker_serving(self, program_pid):
        """The process at the other end of a program's connection to the dispatcher's port."""
        local_ports = connected_ports(program_pid, remote_port=self.dispatcher_port)
        for pid in descendants(self.running.pid):
            for local, remote in sockets(pid):
                if local == self.dispatcher_port and remote in local_ports:
                    return pid
        return None

    def stop(self):
        """As an administrator stops it; must end in order, and soon."""
        if self.running.process.poll() is None:
            self.running.process.send_signal(signal.SIGTERM)
        try:
            return self.running.wait(NO_HANG * 2)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


def driver_with_library(source, folder):
    """The software GPU's driver with a management library beside it that has the functions of a C file in front."""
    made = run(["gcc", "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", f"-Wl,-soname,{source}.so",
                "-Wl,--no-as-needed", ROOT / "Tests" / "Programs" / source, SOFT / "libnvidia-ml.so.1",
                f"-Wl,-rpath,{SOFT}"])
    assert made.returncode == 0, str(made)
    (folder / "libcuda.so.1").symlink_to(SOFT / "libcuda.so.1")
    return folder / "libcuda.so.1"


def descendants(pid):
    """All processes below `pid`, children before grandchildren."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name in parentheses may contain anything; what follows the last one is fixed.
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        for child in children.get(waiting.pop(0), []):
            found.append(child)
            waiting.append(child)
    return found


def program_below(pid, name):
    """The descendant of `pid` that executes a file of this name."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for candidate in descendants(pid):
            try:
                if os.path.basename(os.readlink(f"/proc/{candidate}/exe")) == name:
                    return candidate
            except OSError:
                continue
        time.sleep(0.02)
    return pytest.fail(f"no process below {pid} executes {name}")


def sockets(pid):
    """(local port, remote port) of each established TCP connection of a process."""
    inodes = set()
    try:
        for descriptor in os.scandir(f"/proc/{pid}/fd"):
            target = os.readlink(descriptor.path)
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    except OSError:
        return []
    found = []
    for table in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes and fields[3] == "01":
                found.append((int(fields[1].rpartition(":")[2], 16), int(fields[2].rpartition(":")[2], 16)))
    return found


def connected_ports(pid, remote_port):
    return {local for local, remote in sockets(pid) if remote == remote_port}


def eventually(condition, within, every=0.02):
    """Whether `condition` becomes true within some seconds."""
    deadline = time.monotonic() + within
    while True:
        if condition():
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(every)


@pytest.fixture(params=["tcp", "shm"])
def transport(request, monkeypatch):
    """Both ways between a client and a worker of one machine, demanded."""
    monkeypatch.setenv("BITFUSION_TRANSPORT", request.param)
    return request.param


@pytest.fixture(scope="session")
def manager():
    """One daemon with two GPUs for all tests that only run programs. When they are over, nothing is left allocated."""
    daemon = Manager("2x4096")
    yield daemon
    idle = eventually(daemon.is_idle, FREED_WITHIN)
    stopped = daemon.stop()
    assert idle, "the tests are over and something is still allocated"
    assert stopped.returncode == 0, str(stopped)


@pytest.fixture
def shared_gpu():
    """A daemon with one GPU, for tests that end parts of it."""
    daemon = Manager("1x4096")
    yield daemon
    daemon.stop()


@pytest.fixture
def cleanup():
    """Ends what is appended to it, whatever the test's outcome."""
    started = []
    yield started
    for running in started:
        running.end()


def packed(folder, kind):
    """The packages that scripts/package makes of the tree, by name."""
    done = subprocess.run([ROOT / "scripts" / "package", folder, kind], env=environment(BITFUSION_TREE=TREE),
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    files = [pathlib.Path(line) for line in done.stdout.split()]
    packages = {name: [file for file in files if file.name.startswith(name)] for name in
                ("bitfusion-client", "bitfusion-server", "bitfusion-soft-gpu")}
    assert all(len(found) == 1 for found in packages.values()) and len(files) == 3, done.stdout
    return {name: file for name, (file,) in packages.items()}


@pytest.fixture(scope="session")
def debs(tmp_path_factory):
    if not shutil.which("dpkg-shlibdeps"):
        pytest.skip("dpkg-dev is not installed")
    return packed(tmp_path_factory.mktemp("debs"), "deb")


@pytest.fixture(scope="session")
def rpms(tmp_path_factory):
    if not shutil.which("rpmbuild"):
        pytest.skip("rpmbuild is not installed")
    return packed(tmp_path_factory.mktemp("rpms"), "rpm")
