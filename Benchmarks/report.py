# SPDX-License-Identifier: Apache-2.0
"""Runs the raw floor and the driver calls by turns and prints each measure beside the bar it should reach.

    report.py RAW_PROGRAM DRIVER_COMMAND...

All are run BENCH_ROUNDS times (3) and the best of each measure counts on both sides: what else the machine does can only
make a measure worse. The driver calls are made over each transport of BENCH_TRANSPORTS ("tcp shm") by turns; a ratio over
TCP is to raw TCP, and through shared memory to one memcpy between two arrays. Measures that a client does not print are
left out.
"""
import os
import re
import subprocess
import sys

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
TRANSPORTS = os.environ.get("BENCH_TRANSPORTS", "tcp shm").split()
TITLES = {"tcp": "TCP", "shm": "shared memory", "direct": "no network"}
SIZES = {64: "64 KiB", 1024: "1 MiB", 16384: "16 MiB", 262144: "256 MiB"}


def output_of(command, transport=None):
    environment = dict(os.environ)
    environment.pop("BITFUSION_TRANSPORT", None)
    if transport in ("tcp", "shm"):
        environment["BITFUSION_TRANSPORT"] = transport
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    if done.returncode != 0:
        sys.exit(f"bench: {' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    print("\n".join(f"    {line}" for line in done.stdout.splitlines()))
    return done.stdout


def numbers(pattern, texts):
    """The number in the first line that matches, from each text; empty where a client does not print the measure."""
    found = [re.search(pattern, text, re.MULTILINE) for text in texts]
    return [float(match.group(1)) for match in found if match]


class Floor:
    """The best that the machine itself has shown."""

    def __init__(self, texts):
        self.ping = min(numbers(r"ping-pong:.* ([\d.]+) us", texts))
        self.bulk = {"HtoD": max(numbers(r"upload 256MiB: ([\d.]+)", texts)),
                     "DtoH": max(numbers(r"download 256MiB: ([\d.]+)", texts))}
        self.memcpy = max(numbers(r"memcpy 256MiB: ([\d.]+)", texts), default=0)
        self.ring = max(numbers(r"ring between two processes: ([\d.]+)", texts), default=0)


def measures(texts, transport, floor):
    """For each measure: its name, what was found, the ratio, the bar, and whether it is reached."""
    is_shared = transport != "tcp"

    def rate(name, title, least):
        best = max(numbers(rf"^\s*{re.escape(name)}\s+([\d.]+) calls/s", texts), default=0)
        if best:
            yield title, f"{best:,.0f}/s", "", f">= {least:,}/s", best >= least

    def time(name):
        return min(numbers(rf"^\s*{re.escape(name)}\s+[\d.]+ calls/s\s+([\d.]+) us", texts), default=0)

    yield from rate("cuLaunchKernel(3 args)", "launch, 3 arguments: for the calling thread", 2_000_000)
    yield from rate("launch x N + sync", "launch, 3 arguments: executed", 1_000_000)
    for name in ("cuEventRecord", "cuStreamWaitEvent", "HtoD 64B", "HtoDAsync 64B"):
        yield from rate(name, name, 1_000_000)
    for name in ("cuMemGetInfo", "cuStreamSynchronize", "DtoH 64B"):
        took = time(name)
        if is_shared:
            yield f"synchronous: {name}", f"{took:.1f} us", "", "<= 5 us", took <= 5
        else:
            yield f"synchronous: {name}", f"{took:.1f} us", f"{took / floor.ping:.2f}", "<= 0.4x", took <= 0.4 * floor.ping
    both, one = time("cuMemAlloc+cuMemFree 1 MiB"), time("cuMemGetInfo")
    if both:
        yield ("cuMemAlloc + cuMemFree 1 MiB, in cuMemGetInfos", f"{both:.1f} us", f"{both / one:.2f}", "<= 1x",
               both <= one)
    for kind in ("pageable", "pinned", ""):
        for kibibytes, size in SIZES.items():
            for direction in ("HtoD", "DtoH"):
                found = numbers(rf"^\s*{kind}\s*{kibibytes} KiB .*{direction}\s+([\d.]+) GB/s(?! into)", texts)
                if kind == "" and numbers(r"^\s*(?:pageable)\s+(\d+) KiB", texts) or not found:
                    continue
                base, least = (floor.memcpy, 0.8) if is_shared else (floor.bulk[direction], 0.9)
                title = f"copy {direction} {size} {kind}".strip()
                if not base:  # A raw program that measures no memcpy.
                    yield title, f"{max(found):.2f} GB/s", "", "", None
                    continue
                ratio = max(found) / base
                yield (title, f"{max(found):.2f} GB/s", f"{ratio:.2f}",
                       f">= {least}x", ratio >= least)
    fresh = max(numbers(r"DtoH\s+([\d.]+) GB/s into an array", texts), default=0)
    if fresh:
        base = floor.memcpy if is_shared else floor.bulk["DtoH"]
        yield "copy DtoH 256 MiB, fresh array", f"{fresh:.2f} GB/s", f"{fresh / base:.2f}" if base else "", "", None
    first = min(numbers(r"init to context ([\d.]+) ms", texts))
    yield "first call to usable context", f"{first:.1f} ms", "", "<= 5 ms", first <= 5
    allocated = numbers(r"heap allocations in \d+ launches: (\d+)", texts)
    if allocated:
        yield "heap allocations in all launches", f"{min(allocated):.0f}", "", "0", min(allocated) == 0


def main():
    raw_program, driver_command = sys.argv[1], sys.argv[2:]
    raw, calls = [], {transport: [] for transport in TRANSPORTS}
    for turn in range(1, ROUNDS + 1):
        print(f"raw, {turn} of {ROUNDS}:\n")
        raw.append(output_of([raw_program]))
        for transport in TRANSPORTS:
            print(f"\nthrough the driver, {TITLES[transport]}, {turn} of {ROUNDS}:\n")
            calls[transport].append(output_of(driver_command, transport))
        print()
    floor = Floor(raw)
    rows = {}
    for transport in TRANSPORTS:
        for name, *cells, is_reached in measures(calls[transport], transport, floor):
            word = "" if is_reached is None else "pass" if is_reached else "FAIL"
            rows.setdefault(name, {})[transport] = [*cells, word]
    copying = f"; memcpy {floor.memcpy:.2f} GB/s, a bare ring {floor.ring:.2f} GB/s" if floor.memcpy else ""
    print(f"raw TCP: ping-pong {floor.ping:.1f} us, up {floor.bulk['HtoD']:.2f} GB/s, down {floor.bulk['DtoH']:.2f} GB/s"
          f"{copying}\n")
    heads = [f"{TITLES[transport]} | ratio | bar | " for transport in TRANSPORTS]
    print("| measure | " + " | ".join(heads) + " |\n|---" * 1 + "|---" * (4 * len(TRANSPORTS)) + "|")
    for name, found in rows.items():
        cells = [cell for transport in TRANSPORTS for cell in found.get(transport, [""] * 4)]
        print("| " + " | ".join([name, *cells]) + " |")


main()
