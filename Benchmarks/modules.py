# SPDX-License-Identifier: Apache-2.0
"""What the code of a program costs at its start, when it is a large fat binary: `modules.py make FOLDER`, then below
`bitfusion run` with TCP `modules.py measure FOLDER`.

Three programs that differ in their code only (Benchmarks/start.c): `small` has one kernel for the GPU; `large` has the
same, and machine code for seven other architectures, 500 MB in all; `used` has 16 MB that the GPU does use. Whole
processes are timed, from fork to exit, by turns. What travels is counted by a relay between the program and the server.
"""
import os
import pathlib
import random
import re
import statistics
import struct
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "Tests" / "Programs"))
from relay import Relay  # noqa: E402  The folder is known now.

CUDA = HERE.parent / ".build" / "python" / "cuda"
LARGE_BYTES = 500 << 20
USED_BYTES = 16 << 20
# The software GPU has 7.5.
OTHERS = [80, 86, 89, 90, 100, 103, 120]
PROGRAMS = ["small", "large", "used"]
ROUNDS = 15


def make(folder):
    """Compiles the programs, with NVIDIA's compiler for the code."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "code.cu"
    # Data that only the other architectures have; nothing of it is zero, so that nothing of it is left out.
    source.write_text(
        'extern "C" __global__ void answer(unsigned *place) { *place = 42; }\n'
        "#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800 && BALLAST\n"
        'extern "C" { __device__ unsigned char ballast[BALLAST] = {1}; }\n'
        "#endif\n")
    own = ["-gencode", "arch=compute_75,code=[compute_75,sm_75]"]
    others = [word for number in OTHERS for word in ("-gencode", f"arch=compute_{number},code=sm_{number}")]
    nvcc = [CUDA / "bin" / "nvcc", "-Wno-deprecated-gpu-targets", "-fatbin", source, "-compress-mode=none"]
    subprocess.run([*nvcc, "-DBALLAST=0", *own, "-o", folder / "small.fatbin"], check=True)
    ballast = LARGE_BYTES // len(OTHERS)
    subprocess.run([*nvcc, f"-DBALLAST={ballast}", *own, *others, "-o", folder / "large.fatbin"], check=True)
    # Comments that read like instructions, and can be compressed about as well.
    chance = random.Random(1)
    words = [f"%rd{chance.randrange(1 << 16)}, [%rd{chance.randrange(1 << 12)}+{chance.randrange(1 << 10)}];"
             for _ in range(USED_BYTES // 40)]
    text = (".version 7.0\n.target sm_75\n.address_size 64\n"
            ".visible .entry answer(.param .u64 place) {\n.reg .b64 %d;\nld.param.u64 %d, [place];\n"
            "cvta.to.global.u64 %d, %d;\nst.global.u32 [%d], 42;\nret;\n}\n"
            + "".join("// ld.global.u32 " + word + "\n" for word in words))
    # Uncompressed, as nothing of NVIDIA's tools leaves it: a container and one entry of PTX for compute_75.
    code = text.encode() + bytes(8 - len(text) % 8)
    entry = struct.pack("<HHIQIIHHIIIQQQ", 1, 0x101, 64, len(code), 0, 0, 0, 7, 75, 0, 0, 0x11, 0, 0)
    container = struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(entry) + len(code))
    (folder / "used.fatbin").write_bytes(container + entry + code)
    library = pathlib.Path(os.environ["BITFUSION_TREE"]) / "lib" / "bitfusion" / "client" / "libcuda.so.1"
    for name in PROGRAMS:
        subprocess.run(["gcc", "-O2", "-Wall", f"-I{CUDA}/include", f'-DFATBIN="{folder / name}.fatbin"', "-o",
                        folder / name, HERE / "start.c", library, "-Wl,--allow-shlib-undefined"], check=True)


def run(program, server=None):
    """Runs a program to its end: milliseconds of the whole process, and of what the program says of itself."""
    env = dict(os.environ, BITFUSION_SERVER=server) if server else None
    start = time.perf_counter()
    done = subprocess.run([program], env=env, capture_output=True, text=True, check=True)
    whole = (time.perf_counter() - start) * 1e3
    own = dict(zip(("context", "load", "total"), map(float, re.findall(r"[\d.]+", done.stdout))))
    return {"process": whole, **own}


def measure(folder):
    server = os.environ["BITFUSION_SERVER"]
    size = {name: (folder / f"{name}.fatbin").stat().st_size for name in PROGRAMS}
    first = {}
    for name in PROGRAMS:
        # Its pages are in the page cache, as those of a program that was started before.
        (folder / name).read_bytes()
        relay = Relay(server)
        first[name] = (run(folder / name, relay.address), relay.sent)
    known = {name: [] for name in PROGRAMS}
    for _ in range(ROUNDS):
        for name in PROGRAMS:
            known[name].append(run(folder / name))
    print(f"{'program':8} {'fat binary':>12} {'first client sends':>19} {'a later one':>12} "
          f"{'its process':>12} {'and loading':>12}")
    median = {}
    for name in PROGRAMS:
        relay = Relay(server)
        run(folder / name, relay.address)
        median[name] = {what: statistics.median(found[what] for found in known[name]) for what in known[name][0]}
        # The relay sees nothing of what passes through shared memory.
        sent = [first[name][1], relay.sent]
        sent = ["-" if os.environ.get("BITFUSION_TRANSPORT") == "shm" else f"{count:,}" for count in sent]
        print(f"{name:8} {size[name]:12,} {sent[0]:>19} {sent[1]:>12} "
              f"{median[name]['process']:9.1f} ms {median[name]['load']:9.1f} ms")
    more = median["large"]["process"] - median["small"]["process"]
    print(f"start with 500 MB that the server knows: {more:.1f} ms more than without (bar: 50 ms)")


def slow(folder, megabytes):
    """A first client over a slow network; the server must know nothing of the code."""
    relay = Relay(os.environ["BITFUSION_SERVER"], rate=megabytes * 1e6)
    found = run(folder / "used", relay.address)
    size = (folder / "used.fatbin").stat().st_size
    print(f"a first client over {megabytes:.0f} MB/s: {relay.sent:,} bytes for {size:,}, "
          f"{found['process']:.0f} ms")


if __name__ == "__main__":
    command, where = sys.argv[1], pathlib.Path(sys.argv[2])
    if command == "make":
        make(where)
    elif command == "measure":
        measure(where)
    else:
        slow(where, float(sys.argv[3]))
