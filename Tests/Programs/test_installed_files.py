# SPDX-License-Identifier: Apache-2.0
"""What the installed files ask of a machine, and what they show other libraries of a process."""
import re
import subprocess

import pytest
from conftest import CLIENT, ROOT, SOFT, TREE

GENERATED = ROOT / "Sources" / "DataPath" / "Shim" / "Generated"
# The files that a machine with programs needs; the software GPU's are for developers' machines, which have LLVM.
CLIENT_FILES = [CLIENT / "libcuda.so.1", CLIENT / "libnvidia-ml.so.1", TREE / "bin" / "bitfusion"]
LIBRARY_BYTES_MAX = 10_000_000


def readelf(*arguments):
    return subprocess.run(["readelf", "-W", *arguments], capture_output=True, text=True, check=True).stdout


def exported(library):
    rows = [line.split() for line in readelf("--dyn-syms", library).splitlines()]
    return {row[7].partition("@")[0] for row in rows
            if len(row) > 7 and row[4] in ("GLOBAL", "WEAK", "UNIQUE") and row[6] != "UND"}


@pytest.mark.parametrize("library", [CLIENT / "libcuda.so.1", SOFT / "libcuda.so.1"], ids=["client", "soft"])
def test_exports_exactly_what_is_described(library):
    described = set()
    for file in GENERATED.glob("Exports+*.swift"):
        described.update(re.findall(r"^@c public func (\w+)\(", file.read_text(), re.MULTILINE))
    assert len(described) > 700
    assert exported(library) == described
    assert "[libcuda.so.1]" in readelf("-d", library)


@pytest.mark.parametrize("file", CLIENT_FILES, ids=lambda file: file.name)
def test_needs_no_swift_library(file):
    needed = re.findall(r"NEEDED.*\[(.*)\]", readelf("-d", file))
    assert needed and not [name for name in needed if re.match("libswift|libFoundation|libdispatch", name)]


@pytest.mark.parametrize("file", CLIENT_FILES, ids=lambda file: file.name)
def test_runs_with_glibc_2_34(file):
    versions = {int(minor) for minor in re.findall(r"GLIBC_2\.(\d+)", readelf("--version-info", file))}
    assert versions and max(versions) <= 34


def test_the_library_is_small():
    assert (CLIENT / "libcuda.so.1").stat().st_size < LIBRARY_BYTES_MAX
