# SPDX-License-Identifier: Apache-2.0
"""Programs' code on its way to the server: what travels, what is kept there, and what the environment says of it."""
import json
import os
import random
import signal
import struct
import sys

import pytest
from conftest import (
    BITFUSION, FREED_WITHIN, PATIENCE, SOFT, Manager, Running, descendants, environment, eventually, run)
from relay import Relay

# Loads the image in a file and has its kernel store 42; prints what went wrong by its number.
PROGRAM = """
import ctypes, sys
cuda = ctypes.CDLL("libcuda.so.1")
def check(code):
    if code:
        print("error", code, flush=True)
        sys.exit(1)
context, module, function, place = (ctypes.c_void_p() for _ in range(4))
value = ctypes.c_uint()
check(cuda.cuInit(0))
check(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0))
check(cuda.cuCtxSetCurrent(context))
image = open(sys.argv[1], "rb").read() + bytes(1)
check(cuda.cuModuleLoadData(ctypes.byref(module), image))
check(cuda.cuModuleGetFunction(ctypes.byref(function), module, b"answer"))
check(cuda.cuMemAlloc_v2(ctypes.byref(place), 4))
parameters = (ctypes.c_void_p * 1)(ctypes.cast(ctypes.byref(place), ctypes.c_void_p))
check(cuda.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, None, parameters, None))
check(cuda.cuMemcpyDtoH_v2(ctypes.byref(value), place, 4))
print("answer", value.value, flush=True)
"""
KERNEL = """.version 7.0
.target sm_75
.address_size 64
.visible .entry answer(.param .u64 place) {
    .reg .b64 %d<2>; .reg .b32 %r<2>;
    ld.param.u64 %d1, [place]; cvta.to.global.u64 %d1, %d1; mov.u32 %r1, 42; st.global.u32 [%d1], %r1; ret;
}
"""
# What is sent is compared with a third of it: the relay may be slow enough for compression to pay.
BYTES = 1 << 20


def code(seed, byte_count=BYTES):
    """PTX of about so many bytes, in which little repeats; each seed is another image."""
    chance = random.Random(seed)
    return (KERNEL + "".join("// %030x\n" % chance.getrandbits(120) for _ in range(byte_count // 34))).encode()


def fat_binary(*entries):
    """A fat binary of (kind, architecture, bytes)."""
    packed = b""
    for kind, architecture, content in entries:
        content += bytes(8 - len(content) % 8)
        packed += struct.pack("<HHIQIIHHIIIQQQ", kind, 0x101, 64, len(content), 0, 0, 0, 7, architecture, 0, 0, 0x11,
                              0, 0) + content
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(packed)) + packed


PTX, CUBIN = 1, 2


class Server:
    """A daemon with its cache, and ways to run the program on it through a relay."""

    def __init__(self, tmp_path, settings=None, **options):
        self.tmp_path = tmp_path
        self.folder = tmp_path / "data"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if settings is not None:
            (self.folder / "settings.json").write_text(json.dumps(settings))
        self.manager = Manager("1x256", folder=self.folder, **options)
        self.cache = self.folder / "modules"

    def load(self, image, rate=None, **variables):
        """Runs the program with an image: what it prints, and the bytes that it sent."""
        file = self.tmp_path / "image"
        file.write_bytes(image)
        relay = Relay(f"127.0.0.1:{self.manager.dispatcher_port}", rate)
        try:
            # What is set for the program here, the launcher does not set again.
            variables = {"BITFUSION_SERVER": relay.address, **variables}
            words = ["env", *(f"{name}={value}" for name, value in variables.items())]
            words += [sys.executable, "-c", PROGRAM, file]
            finished = run(self.manager.command(words), environment(BITFUSION_TRANSPORT="tcp"))
            return finished.stdout.strip() or str(finished), relay.sent
        finally:
            relay.close()

    def images(self):
        return sorted(entry for entry in self.cache.iterdir() if entry.name != "lock") if self.cache.exists() else []

    def log(self):
        return self.manager.running.errors_so_far()


@pytest.fixture
def server(tmp_path):
    started = []

    def start(settings=None, **options):
        started.append(Server(tmp_path, settings, **options))
        return started[-1]

    yield start
    for one in started:
        one.manager.stop()


def test_a_second_client_sends_no_image(server):
    one = server()
    image = code(1)
    printed, sent = one.load(image)
    assert printed == "answer 42"
    assert sent > len(image) / 3
    printed, sent = one.load(image)
    assert printed == "answer 42"
    assert sent < 2000
    (kept,) = one.images()
    assert kept.stat().st_mode & 0o777 == 0o600 and one.cache.stat().st_mode & 0o777 == 0o700
    # A restarted daemon knows it still.
    one.manager.running.end()
    one.manager = Manager("1x256", folder=one.folder)
    printed, sent = one.load(image)
    assert printed == "answer 42" and sent < 2000


def test_a_damaged_image_is_sent_again(server):
    one = server()
    image = code(1)
    one.load(image)
    (kept,) = one.images()
    for damaged in (image[:1000], b"x" * len(image)):
        kept.write_bytes(damaged)
        printed, sent = one.load(image)
        assert printed == "answer 42"
        assert sent > len(image) / 3
        assert kept.read_bytes().rstrip(b"\0") == image


def test_only_what_the_gpu_can_use_travels(server):
    """Of 32 MB the software GPU executes 1 MB, and of a small kernel's container hardly anything travels."""
    one = server()
    others = [(CUBIN, architecture, os.urandom(8 << 20)) for architecture in (75, 80, 90)]
    printed, sent = one.load(fat_binary(*others, (PTX, 75, code(1)), (PTX, 90, os.urandom(8 << 20))))
    assert printed == "answer 42"
    assert sent < 1.2 * BYTES
    printed, sent = one.load(fat_binary((PTX, 75, KERNEL.encode()), *others))
    assert printed == "answer 42"
    assert sent < 3000


def test_the_cache_has_a_bound(server):
    one = server({"module_cache_mib": 4})
    for seed in range(7):
        assert one.load(code(seed))[0] == "answer 42"
        assert sum(file.stat().st_size for file in one.images()) <= 4 << 20
    assert len(one.images()) in (3, 4)
    assert one.load(code(6))[1] < 2000
    assert one.load(code(0))[1] > BYTES / 3


def test_the_cache_can_be_switched_off_and_on(server):
    one = server({"module_cache_mib": 0})
    image = code(1)
    for _ in range(2):
        assert one.load(image)[1] > len(image) / 3
    assert not one.cache.exists()
    (one.folder / "settings.json").write_text('{"module_cache_mib": 16}')
    one.manager.running.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: "Settings read again." in one.manager.running.output_so_far(), FREED_WITHIN * 5)
    one.load(image)
    assert one.load(image)[1] < 2000


def test_a_wrong_bound_is_refused(tmp_path):
    (tmp_path / "settings.json").write_text('{"module_cache_mib": -1}')
    refused = run([BITFUSION, "manager", "--data-dir", tmp_path, "--soft-gpu", "1x64", "--srs-port", "0",
                   "--dispatcher-port", "0"])
    assert refused.returncode == 78
    assert "module_cache_mib is -1; it must be 0 to 1048576" in refused.stderr


def test_a_folder_that_others_may_enter_is_not_used(server, tmp_path):
    modules = tmp_path / "data" / "modules"
    modules.mkdir(parents=True)
    modules.chmod(0o755)
    one = server()
    image = code(1)
    for _ in range(2):
        printed, sent = one.load(image)
        assert printed == "answer 42" and sent > len(image) / 3
    (line,) = one.log().splitlines()
    assert "no module cache" in line and "0700" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_full_disk_costs_sending_and_nothing_else(server, tmp_path):
    mount = 'mkdir -p -m 700 "$0" && mount -t tmpfs -o size=512k,mode=700 none "$0" && exec "$@"'
    modules = tmp_path / "data" / "modules"
    one = server(before=("unshare", "-m", "--propagation", "private", "sh", "-c", mount, modules))
    image = code(1)
    for _ in range(2):
        printed, sent = one.load(image)
        assert printed == "answer 42" and sent > len(image) / 3
    lines = [line for line in one.log().splitlines() if "keeps nothing more" in line]
    assert len(lines) == 2 and all("No space left on device" in line for line in lines)


def test_over_a_slow_network_code_is_compressed(server):
    one = server()
    # Hexadecimal digits have four bits in eight.
    image = code(1, 8 << 20)
    printed, sent = one.load(image, rate=20e6)
    assert printed == "answer 42"
    assert sent < 0.75 * len(image)
    (kept,) = one.images()
    assert kept.stat().st_size == len(image)


# The environment of the driver.


def test_an_application_can_forbid_to_keep_its_code(server):
    """CUDA_CACHE_DISABLE"""
    one = server()
    image = code(1)
    for _ in range(2):
        printed, sent = one.load(image, CUDA_CACHE_DISABLE=1)
        assert printed == "answer 42" and sent > len(image) / 3
    assert not one.images()
    one.load(image, CUDA_CACHE_DISABLE=0)
    assert one.load(image)[1] < 2000


def test_compilation_can_be_forbidden(server):
    """CUDA_DISABLE_PTX_JIT: 223 is CUDA_ERROR_JIT_COMPILATION_DISABLED."""
    one = server()
    both = fat_binary((CUBIN, 75, bytes(1000)), (PTX, 75, KERNEL.encode()))
    for image in (KERNEL.encode(), both):
        assert one.load(image)[0] == "answer 42"
        assert one.load(image, CUDA_DISABLE_PTX_JIT=0)[0] == "answer 42"
        assert one.load(image, CUDA_DISABLE_PTX_JIT=1)[0] == "error 223"


def test_compilation_can_be_forced(server):
    """CUDA_FORCE_PTX_JIT: 209 is CUDA_ERROR_NO_BINARY_FOR_GPU."""
    one = server()
    both = fat_binary((CUBIN, 75, bytes(1000)), (PTX, 75, KERNEL.encode()))
    assert one.load(both, CUDA_FORCE_PTX_JIT=1)[0] == "answer 42"
    assert one.load(fat_binary((CUBIN, 75, bytes(1000))), CUDA_FORCE_PTX_JIT=1)[0] == "error 209"


def test_what_the_driver_compiles_is_kept_in_the_data_folder(tmp_path, cleanup):
    """CUDA_CACHE_PATH of the workers, where the daemon's environment does not say."""

    def variables(pid):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                return file.read().split(b"\0")
        except OSError:
            return []

    for number, (said, expected) in enumerate([({}, tmp_path / "0" / "ComputeCache"),
                                               ({"CUDA_CACHE_PATH": "/elsewhere"}, "/elsewhere")]):
        daemon = Running([BITFUSION, "manager", "--data-dir", tmp_path / str(number), "--driver", SOFT / "libcuda.so.1",
                          "--bind", "127.0.0.1", "--srs-port", 0, "--dispatcher-port", 0],
                         environment(BITFUSION_SOFT_GPU="1x64", **said))
        cleanup.append(daemon)
        wanted = f"CUDA_CACHE_PATH={expected}".encode()
        assert eventually(lambda: any(wanted in variables(pid) for pid in descendants(daemon.pid)), PATIENCE)


def test_where_the_drivers_cache_is_and_how_large_is_the_servers_matter(server, tmp_path):
    """CUDA_CACHE_PATH and CUDA_CACHE_MAXSIZE of an application change nothing on the server."""
    one = server()
    image = code(1)
    elsewhere = tmp_path / "elsewhere"
    printed, _ = one.load(image, CUDA_CACHE_PATH=elsewhere, CUDA_CACHE_MAXSIZE=1)
    assert printed == "answer 42"
    assert one.load(image)[1] < 2000
    assert not elsewhere.exists()
