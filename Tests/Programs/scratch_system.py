# SPDX-License-Identifier: Apache-2.0
"""A copy of this machine's files to install packages in: an overlay that nobody else sees and that vanishes with its
processes. Commands in it run as on the machine, on its kernel and its network, and with its programs.
"""
import os
import pathlib
import select
import shutil
import signal
import subprocess
import tempfile

import pytest
from conftest import PATIENCE, Running, environment

# $1 is where it is made; the other folders are visible in it as /mnt/0, /mnt/1, ...
PREPARE = """
set -e
base=$1
shift
mount --make-rprivate /
mount -t tmpfs none "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/root"
for folder in proc dev; do mount --rbind "/$folder" "$base/root/$folder"; done
number=0
for folder; do
    mkdir -p "$base/root/mnt/$number"
    mount --bind "$folder" "$base/root/mnt/$number"
    number=$((number + 1))
done
echo ready
"""


def missing():
    """Why there can be no scratch system on this machine; None when there can be one."""
    if os.geteuid() != 0:
        return "needs root"
    for program in ("unshare", "nsenter", "setpriv", "dpkg", "deb-systemd-helper"):
        if not shutil.which(program):
            return f"needs {program}"
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run(["unshare", "--mount", "sh", "-c", PREPARE, "sh", folder], capture_output=True, text=True,
                               check=False)
    return None if tried.returncode == 0 else f"needs overlay mounts: {tried.stderr.strip()}"


class ScratchSystem:
    """The overlay; `shared` are folders that are visible in it as /mnt/0, /mnt/1, ..."""

    def __init__(self, *shared):
        self.folder = tempfile.mkdtemp(prefix="bitfusion-system-")
        self.started = []
        self.holder = subprocess.Popen(
            # It ends with this process, however that ends.
            ["unshare", "--mount", "sh", "-c", PREPARE + "exec cat", "sh", self.folder, *map(str, shared)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        answered, _, _ = select.select([self.holder.stdout], [], [], PATIENCE)
        if not answered or self.holder.stdout.readline() != b"ready\n":
            self.end()
            pytest.fail("the scratch system could not be made")
        # The words that bring a command into it.
        self.entry = ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "chroot", f"{self.folder}/root"]

    def path(self, file):
        """A file of the system, as this process sees it."""
        return pathlib.Path(f"/proc/{self.holder.pid}/root{self.folder}/root") / str(file).lstrip("/")

    def start(self, command, user=None, confinement=(), **variables):
        """Starts a command as root or as a user, in that user's groups; `confinement` are further words of setpriv."""
        words = self.entry
        if user:
            words = [*words, "setpriv", "--reuid", user, "--regid", user, "--init-groups", *confinement]
        running = Running([*words, *command], environment(
            PATH="/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin", HOME=f"/home/{user}" if user else "/root",
            DEBIAN_FRONTEND="noninteractive", LC_ALL="C", **variables))
        self.started.append(running)
        return running

    def run(self, command, user=None, **variables):
        return self.start(command, user, **variables).wait()

    def do(self, *command):
        """Runs a command as root that must succeed; what it prints."""
        finished = self.run(command)
        assert finished.returncode == 0, f"{command}: {finished}"
        return finished.stdout

    def changed(self):
        """The files that differ from the machine's, with mode, owner and length; None for those that are gone."""
        upper = pathlib.Path(f"/proc/{self.holder.pid}/root{self.folder}/upper")
        found = {}
        for folder, folders, files in os.walk(upper):
            for name in folders + files:
                path = pathlib.Path(folder, name)
                status = path.lstat()
                # An overlay notes a removed file as a device 0, 0.
                gone = status.st_rdev == 0 and path.is_char_device()
                found["/" + str(path.relative_to(upper))] = None if gone else (
                    oct(status.st_mode), status.st_uid, status.st_gid, 0 if path.is_dir() else status.st_size)
        return found

    def end(self):
        for running in self.started:
            running.end()
        if self.holder.poll() is None:
            os.killpg(self.holder.pid, signal.SIGKILL)
        self.holder.wait()
        self.holder.stdin.close()
        self.holder.stdout.close()
        # Nothing is mounted on it here.
        os.rmdir(self.folder)
