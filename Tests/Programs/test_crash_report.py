# SPDX-License-Identifier: Apache-2.0
"""`bitfusion crashreport`, `license` and `dealloc`."""
import json
import pathlib
import stat
import tarfile

import pytest
from conftest import BITFUSION, environment, run

TICKET = "0123456789abcdef" * 4


def texts(archive):
    with tarfile.open(archive) as opened:
        members = opened.getmembers()
        assert {member.name.split("/")[0] for member in members} == {members[0].name}
        return {member.name.split("/")[-1]: opened.extractfile(member).read().decode(errors="replace")
                for member in members if member.isfile()}


def test_writes_what_is_known_of_a_client(tmp_path):
    """CLI-63: an archive for its owner alone, with versions, health, environment and the system's messages, and without
    the ticket."""
    archive = tmp_path / "report.tar.gz"
    variables = environment(BITFUSION_TICKET=TICKET, BITFUSION_NOTE=f"ticket {TICKET}.", TMPDIR=tmp_path)
    finished = run([BITFUSION, "crashreport", "--client", "-l", "127.0.0.1:1", "-o", archive, "--json"], env=variables)
    assert finished.returncode == 0, str(finished)
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    found = texts(archive)
    assert list(found) and set(json.loads(finished.stdout)["entries"]) == set(found)
    assert "Bitfusion version: " in found["bitfusion.txt"] and "Linux" in found["system.txt"]
    assert "127.0.0.1:1" in found["servers.txt"]
    assert json.loads(found["health.json"])["role"] == "client"
    assert "BITFUSION_NOTE=ticket (left out)." in found["environment.txt"]
    assert "BITFUSION_TICKET" not in found["environment.txt"]
    assert all(TICKET not in text for text in found.values())
    # Nothing stays but the archive.
    assert [path.name for path in tmp_path.iterdir()] == ["report.tar.gz"]


def test_writes_what_is_known_of_a_server(manager, tmp_path):
    """CLI-63: on a server also the daemon's files, and the server's checks."""
    settings = pathlib.Path(manager.folder) / "settings.json"
    settings.write_text('{"quota_gpus": 7}')
    archive = tmp_path / "report.tar.gz"
    finished = run([BITFUSION, "crashreport", "--server", "--data-dir", manager.folder, "-o", archive])
    assert finished.returncode == 0 and str(archive) in finished.stdout, str(finished)
    found = texts(archive)
    assert json.loads(found["health.json"])["role"] == "server"
    assert '"quota_gpus": 7' in found["settings.json"] and "manager.json" in found


def test_names_the_file_itself(tmp_path):
    finished = run([BITFUSION, "crashreport", "--client", "-l", "127.0.0.1:1"], cwd=tmp_path)
    (archive,) = tmp_path.iterdir()
    assert finished.returncode == 0 and archive.name.startswith("bitfusion-crashreport-"), str(finished)
    assert archive.name in finished.stdout and "Nothing was sent" in finished.stdout


@pytest.mark.parametrize("place, words", [("there", "is there already"), ("nowhere/report", "cannot write")])
def test_what_cannot_be_written_is_said_at_once(tmp_path, place, words):
    (tmp_path / "there").write_text("kept")
    finished = run([BITFUSION, "crashreport", "--client", "-l", "127.0.0.1:1", "-o", tmp_path / place])
    assert finished.returncode == 73 and words in finished.stderr, str(finished)
    assert finished.stderr.count("\n") == 1 and (tmp_path / "there").read_text() == "kept"


def test_license():
    """CLI-64: the license, and that no key is needed."""
    finished = run([BITFUSION, "license"])
    assert finished.returncode == 0 and "Apache License, Version 2.0" in finished.stdout, str(finished)
    assert "No license key is needed" in finished.stdout


def test_dealloc():
    """CLI-62: there is no license to give back, which is said, and is no failure."""
    finished = run([BITFUSION, "dealloc"])
    assert finished.returncode == 0 and "Bitfusion needs none" in finished.stdout, str(finished)
