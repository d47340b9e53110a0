# SPDX-License-Identifier: Apache-2.0
"""What is run on machines with a GPU runs here on a software GPU, from its package."""
import json
import subprocess
import tarfile

import pytest
from conftest import ROOT, environment

SCRIPT = ROOT / "scripts" / "gpu-check"


def call(*words):
    return subprocess.run([str(word) for word in words], env=environment(), capture_output=True, text=True, timeout=600,
                          check=False)


def test_what_is_tried_on_a_gpu_can_be_tried_here(tmp_path):
    """The package is self-contained but for the software GPU, which is not what it is for."""
    packed = call(SCRIPT, "pack", tmp_path / "check.tar.xz")
    assert packed.returncode == 0, packed.stderr
    assert (tmp_path / "check.tar.xz").stat().st_size <= 60 << 20
    with tarfile.open(tmp_path / "check.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    folder = tmp_path / "bitfusion-gpu-check"
    (folder / "tree" / "lib" / "bitfusion" / "soft").symlink_to(ROOT / ".build" / "tree" / "lib" / "bitfusion" / "soft")
    tried = call(folder / "gpu-check", "run", "--soft-gpu", "2x1024", "--parts", "server,contracts,programs,frameworks,torch,times",
                 "--report", tmp_path / "report.json")
    rows = json.loads((tmp_path / "report.json").read_text())["rows"]
    failed = [row for row in rows if row["outcome"] in ("fail", "below")]
    assert tried.returncode == 0 and not failed, tried.stdout + tried.stderr
    outcomes = {(row["part"], row["name"]): row["outcome"] for row in rows}
    assert outcomes["programs", "vector_add"] == outcomes["programs", "two_devices"] == "pass"
    assert outcomes["server", "list_gpus"] == "pass"
    assert outcomes["contracts", "DriverContractGraphs runsBranchesInTheirOrder"] == "pass"
    assert sum(row["part"] == "contracts" for row in rows) > 100


@pytest.mark.parametrize("words, says", [
    (["run", "--parts", "nothing"], "there is no part nothing"), (["unpack"], "invalid choice"),
    (["run", "--soft-gpu", "lots", "--parts", "server"], "did not start")])
def test_mistakes_are_told(words, says):
    finished = call(SCRIPT, *words)
    assert finished.returncode != 0 and says in finished.stderr, finished.stderr
