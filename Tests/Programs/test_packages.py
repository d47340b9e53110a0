# SPDX-License-Identifier: Apache-2.0
"""What is in the packages: names, modes, owners, sizes and what they ask of a machine."""
import io
import re
import shutil
import stat
import subprocess
import tarfile

import pytest
from conftest import ROOT, TREE

MB = 1_000_000
UNITS = ["bitfusion-manager.service", "bitfusion-devices.service"]


class Package:
    """One package, of either kind: its files, and what it says of itself."""

    def __init__(self, modes, owners, length, needs, kept, provides):
        self.modes, self.owners, self.length = modes, owners, length
        self.needs, self.kept, self.provides = needs, kept, provides

    @classmethod
    def of_deb(cls, file):
        def field(name):
            return subprocess.run(["dpkg-deb", "-f", file, name], capture_output=True, text=True, check=True).stdout.strip()

        def tar(option):
            packed = subprocess.run(["dpkg-deb", option, file], capture_output=True, check=True).stdout
            return tarfile.open(fileobj=io.BytesIO(packed))

        members = [member for member in tar("--fsys-tarfile").getmembers() if member.name != "."]
        control = tar("--ctrl-tarfile")
        kept = control.extractfile("./conffiles").read().decode() if "./conffiles" in control.getnames() else ""
        return cls({member.name[1:] + "/" * member.isdir(): member.mode for member in members},
                   {member.name[1:]: (member.uname, member.gname) for member in members},
                   sum(member.size for member in members), field("Depends"), kept.split(), field("Provides"))

    @classmethod
    def of_rpm(cls, file):
        def query(*arguments):
            return subprocess.run(["rpm", "-qp", *arguments, file], capture_output=True, text=True, check=True).stdout

        rows = [line.split() for line in query(
            "--qf", "[%{FILENAMES} %{FILEMODES:octal} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILESIZES}\n]").splitlines()]
        modes = {name + "/" * stat.S_ISDIR(int(mode, 8)): stat.S_IMODE(int(mode, 8)) for name, mode, _, _, _ in rows}
        return cls(modes, {name: (user, group) for name, _, user, group, _ in rows},
                   sum(int(length) for name, _, _, _, length in rows if name in modes), query("--requires"),
                   query("--configfiles").split(), query("--provides"))


@pytest.fixture(scope="module", params=["deb", "rpm"])
def packages(request):
    read = Package.of_deb if request.param == "deb" else Package.of_rpm
    files = request.getfixturevalue("debs" if request.param == "deb" else "rpms")
    return {name: read(file) for name, file in files.items()}


def test_what_the_client_has(packages):
    """ARC-03, ARC-08, CFG-11: one program with all commands, its libraries, manual, completions and limits."""
    client = packages["bitfusion-client"]
    for file in ["/usr/bin/bitfusion", "/usr/lib/bitfusion/client/libcuda.so.1",
                 "/usr/lib/bitfusion/client/libnvidia-ml.so.1", "/etc/security/limits.d/bitfusion-limits.conf",
                 "/etc/bitfusion/", "/usr/share/bash-completion/completions/bitfusion",
                 "/usr/share/fish/vendor_completions.d/bitfusion.fish", "/usr/share/doc/bitfusion-client/installation.md"]:
        assert file in client.modes
    assert [file for file in client.modes if re.fullmatch(r"/usr/share/zsh/\S+/_bitfusion", file)]
    assert [file for file in client.modes if "/bin/" in file and not file.endswith("/")] == ["/usr/bin/bitfusion"]
    pages = {f"/usr/share/man/man1/{page.name}.gz" for page in (TREE / "share" / "man" / "man1").glob("*.1")}
    assert pages == {file for package in packages.values() for file in package.modes if "/man1/bitfusion" in file}


def test_what_the_server_has(packages):
    """ARC-02, SVC-02."""
    server = packages["bitfusion-server"]
    assert server.modes["/usr/bin/bitfusion-server"] == 0o755
    for unit in UNITS:
        # Where /lib is a link to /usr/lib, both are the same file.
        modes = [server.modes.get(f"{folder}/systemd/system/{unit}") for folder in ("/lib", "/usr/lib")]
        assert 0o644 in modes, unit
    assert server.modes["/var/lib/bitfusion/"] == 0o700
    assert "/usr/share/man/man1/bitfusion-manager.1.gz" in server.modes
    assert "bitfusion-client" in server.needs and "llvm" not in server.needs.lower()


def test_the_software_gpu_is_of_its_own(packages):
    soft = packages["bitfusion-soft-gpu"]
    assert {file for file in soft.modes if file.startswith("/usr/lib/bitfusion/soft/lib")} == {
        "/usr/lib/bitfusion/soft/libcuda.so.1", "/usr/lib/bitfusion/soft/libnvidia-ml.so.1"}
    assert "llvm" in soft.needs.lower() and "llvm" not in packages["bitfusion-client"].needs.lower()


def test_sizes(packages):
    """ARC-02, ARC-03: what an installation takes on the disk."""
    # MiB, as everywhere in the product.
    assert 20 * MB < packages["bitfusion-client"].length <= 30 << 20
    assert 10 * MB < packages["bitfusion-server"].length <= 120 * MB


def test_modes_and_owners(packages):
    """ARC-06, CFG-17: only root writes what is installed, and the configuration is not for everybody to read."""
    for name, package in packages.items():
        for file, mode in package.modes.items():
            assert mode & 0o6022 == 0, f"{name}: {file} has the mode {mode:o}"
            executable = file.endswith("/") or file.startswith("/usr/bin/")
            if file.startswith(("/usr/", "/lib/")):
                assert mode == (0o755 if executable else 0o644), f"{name}: {file}"
        for file, owner in package.owners.items():
            if not file.startswith(("/etc/bitfusion", "/var/lib/bitfusion")):
                assert owner == ("root", "root"), f"{name}: {file} belongs to {owner}"
    assert packages["bitfusion-client"].modes["/etc/bitfusion/"] == 0o750
    assert packages["bitfusion-server"].modes["/etc/bitfusion/manager.env"] == 0o640


def test_configuration_is_kept(packages):
    assert "/etc/security/limits.d/bitfusion-limits.conf" in packages["bitfusion-client"].kept
    assert packages["bitfusion-server"].kept == ["/etc/bitfusion/manager.env"]


def test_no_file_is_in_two_packages(packages):
    files = [file for package in packages.values() for file in package.modes if not file.endswith("/")]
    assert len(files) == len(set(files))


def test_is_not_taken_for_nvidias_driver(packages):
    for package in packages.values():
        assert "libcuda" not in package.provides and "libnvidia-ml" not in package.provides


def test_rpm_gives_the_configuration_to_the_group(rpms):
    """ARC-06, CFG-17; the .deb does it when it is installed."""
    client = Package.of_rpm(rpms["bitfusion-client"])
    assert client.owners["/etc/bitfusion"] == ("root", "bitfusion")
    assert client.owners["/etc/bitfusion/servers.conf"] == ("root", "bitfusion")
    assert client.modes["/etc/bitfusion/servers.conf"] == 0o640


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg-deb")
def test_the_limits_are_those_of_the_guide(debs):
    """CFG-10..14: the file in the package, byte for byte."""
    packed = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", debs["bitfusion-client"]], capture_output=True, check=True).stdout
    limits = tarfile.open(fileobj=io.BytesIO(packed)).extractfile("./etc/security/limits.d/bitfusion-limits.conf")
    assert limits.read() == b"".join(f"@bitfusion {kind} {limit}\n".encode() for limit in
                              ("nofile 100000", "memlock unlimited", "rss unlimited") for kind in ("soft", "hard"))


@pytest.mark.parametrize("arguments, says", [
    ([], "usage: package DIR [deb|rpm|all]"), (["out", "zip"], "not 'zip'"), (["out", "deb", "rpm"], "usage: package")])
def test_wrong_use_is_one_line(arguments, says, tmp_path):
    finished = subprocess.run([ROOT / "scripts" / "package", *arguments], cwd=tmp_path, capture_output=True, text=True,
                              check=False)
    assert finished.returncode == 1 and says in finished.stderr and len(finished.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
