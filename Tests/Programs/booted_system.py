# SPDX-License-Identifier: Apache-2.0
"""A scratch system with a systemd and a network of its own: for what only an init system does."""
import functools
import os
import pathlib
import shutil
import signal
import uuid

import pytest
import scratch_system
from conftest import PATIENCE, Running, descendants, eventually

# $1 is where the scratch system is, $2 the name of the container. Its control groups are below one of this name in each
# hierarchy that systemd uses.
BOOT = """
set -e
umount -l "$1/root/proc" "$1/root/dev"
mount -t proc none /proc
mount -t tmpfs none /run
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    if [ -e "$hierarchy/cgroup.procs" ]; then
        mkdir "$hierarchy/$2"
        echo $$ >"$hierarchy/$2/cgroup.procs"
    fi
done
exec systemd-nspawn --directory="$1/root" --machine="$2" --register=no --keep-unit --private-network --boot
"""


def missing():
    """Why no system can be booted on this machine; None when one can be."""
    if not shutil.which("systemd-nspawn"):
        return "needs systemd-nspawn"
    return scratch_system.missing()


class BootedSystem(scratch_system.ScratchSystem):
    """Booted by `boot`, when what it starts has been installed; of the machine's own services it starts none."""

    container = leader = None

    def boot(self):
        self.name = f"bitfusion-{uuid.uuid4().hex[:12]}"
        self.do("find", "/etc/systemd/system", "-mindepth", "2", "-type", "l", "!", "-name", "bitfusion*", "-delete")
        # On the machine of an image it may say that packages start nothing.
        self.do("rm", "-f", "/usr/sbin/policy-rc.d")
        self.path("/etc/machine-id").write_text(uuid.uuid4().hex + "\n")
        self.container = Running(
            # With this process end the first one of the inner process namespace and all that is in it.
            ["setpriv", "--pdeathsig=KILL", "nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "unshare", "--pid", "--fork",
             "--kill-child", "sh", "-c", BOOT, "sh", self.folder, self.name])
        eventually(lambda: self.find_leader() or self.container.process.poll() is not None, PATIENCE)
        if self.leader is None:
            pytest.skip(f"no container can be started here: {self.container.end()}")
        self.entry = ["nsenter", f"--target={self.leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
        running = eventually(lambda: self.run(["systemctl", "is-system-running"]).stdout in ("running\n", "degraded\n"),
                             PATIENCE, every=0.1)
        assert running, self.container.output_so_far()

    def find_leader(self):
        for pid in descendants(self.container.pid):
            try:
                numbers = pathlib.Path(f"/proc/{pid}/status").read_text().partition("NSpid:")[2].splitlines()[0].split()
                if numbers[-1] == "1" and os.readlink(f"/proc/{pid}/exe").endswith("/systemd"):
                    self.leader = pid
            except (OSError, IndexError):
                continue
        return self.leader

    def end(self):
        if self.leader:
            # All its processes end with it, and its container then.
            os.kill(self.leader, signal.SIGKILL)
            self.container.wait()
        elif self.container:
            self.container.end()
        super().end()
        for hierarchy in ("", "systemd", "unified"):
            group = pathlib.Path("/sys/fs/cgroup", hierarchy, getattr(self, "name", "none"))
            for folder, _, _ in os.walk(group, topdown=False):
                eventually(functools.partial(removed, folder), 1)


def removed(folder):
    """Removes a control group, which can be done when the last of its processes is gone."""
    try:
        os.rmdir(folder)
    except OSError:
        return False
    return True
