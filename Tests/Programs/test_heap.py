# SPDX-License-Identifier: Apache-2.0
"""Calls that programs make all the time allocate nothing, in the client as in the worker.

What a driver does in its own code is its own matter: of the worker only its own code is counted, of the client all.
"""
import os
import subprocess

import pytest
from conftest import CLIENT, Manager, ROOT

SOURCES = ROOT / "Tests" / "Programs"
KINDS = {
    "launch", "cuEventRecord", "cuStreamWaitEvent", "cuEventQuery", "cuEventSynchronize", "cuMemcpyHtoDAsync-64",
    "cuMemcpyDtoH-64", "cuMemcpyHtoD-1M", "cuMemcpyDtoH-1M", "cuMemcpyHtoDAsync-pinned-1M",
    "cuMemcpyDtoHAsync-pinned-1M",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heap")
    compiler = ["gcc", "-O2", "-Wall", "-Werror"]
    subprocess.run([*compiler, "-shared", "-fPIC", "-o", folder / "allocations.so", SOURCES / "allocations.c"], check=True)
    subprocess.run(
        [*compiler, f"-I{ROOT}/.build/python/cuda/include", "-o", folder / "steady_calls", SOURCES / "steady_calls.c",
         CLIENT / "libcuda.so.1", "-Wl,--allow-shlib-undefined"], check=True)
    return folder


def test_steady_calls_allocate_nothing(built, tmp_path, transport):
    counted = [f"LD_PRELOAD={built}/allocations.so", f"BITFUSION_ALLOCATIONS={tmp_path}"]
    daemon = Manager("1x256", before=("env", *counted))
    try:
        finished = daemon.run(["env", *counted, built / "steady_calls"])
        assert finished.returncode == 0 and finished.stdout.endswith("ok steady_calls\n"), str(finished)
        counts = {line.split()[0]: [int(word) for word in line.split()[2:]] for line in finished.stdout.splitlines()[:-1]}
        assert counts.keys() == KINDS
        # Two processes are counted: the count itself would be missed otherwise.
        assert len(os.listdir(tmp_path)) >= 2
        assert all(count == [0, 0] for count in counts.values()), str(finished)
    finally:
        daemon.stop()
