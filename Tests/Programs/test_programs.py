# SPDX-License-Identifier: Apache-2.0
"""Each program four times: on the software GPU's library, with a private worker, and through the network: over TCP, and
by the memory that client and worker share where both are on one machine.

ARC-01, ARC-08, ARC-09, ARC-10, ARC-12, ARC-15, ARC-16: the program runs here, only its GPU work crosses the network, with one
command, one client and one server. CLI-80: `local` is the same layer without a network.
"""
import pytest
from conftest import BITFUSION, PROGRAMS, PYTHON, ROOT, SOFT, environment, run

NAMES = [
    "vector_add", "matmul", "reduction", "histogram", "scan", "transpose", "mandelbrot", "nbody", "dynamic_shared",
    "symbols", "device_printf", "device_assert", "precision", "streams", "managed", "threads", "two_devices", "illegal_address",
    "per_thread", "driver_api", "graphs", "textures", "fork", "fork_first", "at_exit", "stream_values",
    "interprocess", "virtual_memory", "cooperative", "waiting", "batches", "shared_pools", "host_pools", "conditions",
]
# Programs whose source has another name or place, and what they say at the end.
OTHERS = {"vector_add-lz4": "vector_add", "vector_add-plain": "vector_add", "several_runtimes": "several_runtimes"}
RUNTIMES = ["11.8.89", "12.4.127", "12.9.79", "13.0.48", "13.5.37", "static"]

DEVICE_PRINTF = """host: before
kernel: block 0 of dev,  3.14 x % text
kernel: -5000000000 4000000000 ff 1.234568e+04
thread 0
thread 1
thread 2
host: between
kernel: block 0 of dev,  3.14 x % text
kernel: -5000000000 4000000000 ff 1.234568e+04
ok device_printf
"""


@pytest.fixture(params=["direct", "local", "tcp", "shm"])
def execute(request, monkeypatch):
    """Runs a program one of the four ways."""
    if request.param == "direct":
        return lambda program, gpus=1: run(
            program, environment(LD_LIBRARY_PATH=SOFT, BITFUSION_SOFT_GPU=f"{gpus}x4096"))
    if request.param == "local":
        return lambda program, gpus=1: run([BITFUSION, "local", "--soft-gpu", f"{gpus}x4096", "--", *program])
    manager = request.getfixturevalue("manager")
    monkeypatch.setenv("BITFUSION_TRANSPORT", request.param)
    return lambda program, gpus=1: manager.run(program, "-n", gpus)


@pytest.mark.parametrize("name", NAMES)
def test_program(name, execute):
    finished = execute([PROGRAMS / name], gpus=2 if name == "two_devices" else 1)
    assert finished.returncode == 0, str(finished)
    assert finished.stdout.endswith(f"ok {name}\n"), str(finished)
    if name == "device_printf":
        assert finished.stdout == DEVICE_PRINTF, str(finished)
    if name == "device_assert":
        assert "Assertion `values[threadIdx.x] < limit` failed" in finished.stderr, str(finished)
        assert "block: [0,0,0], thread: [3,0,0]" in finished.stderr, str(finished)


@pytest.mark.parametrize("name", OTHERS)
def test_other_program(name, execute):
    finished = execute([PROGRAMS / name])
    assert finished.returncode == 0 and finished.stdout.endswith(f"ok {OTHERS[name]}\n"), str(finished)


@pytest.mark.parametrize("version", RUNTIMES)
def test_runtime(version, execute):
    finished = execute([PROGRAMS / f"runtime-{version}"])
    assert finished.returncode == 0 and finished.stdout.endswith("ok runtime\n"), str(finished)


def test_memory_resources_of_cuda_core(execute):
    """A pool shared with a spawned process, and pools of the host and of managed memory, as Python programs use them."""
    finished = execute([PYTHON, ROOT / "Tests" / "Programs" / "core_pools.py"])
    assert finished.returncode == 0 and finished.stdout == "ok core_pools\n", str(finished)


@pytest.mark.parametrize("name", ["interprocess", "shared_pools"])
def test_memory_of_another_process_counts_once_in_a_partition(name, manager):
    finished = manager.run([PROGRAMS / name, "partition"], "-n", 1, "-m", 512)
    assert finished.returncode == 0 and finished.stdout.endswith(f"ok {name}\n"), str(finished)


def test_every_program_is_run():
    """A program added to the folder is not forgotten here."""
    helpers = {"busy", "endless", "memory_limit"}
    assert {path.stem for path in (ROOT / "Tests" / "Programs").glob("*.cu")} == set(NAMES) | helpers


def test_exit_status_and_arguments_are_the_programs(manager):
    script = 'printf "%s|" "$0" "$@"; exit 41'
    finished = manager.run(["/bin/sh", "-c", script, "a b", "", "$HOME", "-n"])
    assert finished.returncode == 41 and finished.stdout == "a b||$HOME|-n|", str(finished)


def test_a_signal_is_in_the_exit_status(manager):
    finished = manager.run(["/bin/sh", "-c", "kill -SEGV $$"])
    assert finished.returncode == 128 + 11, str(finished)
