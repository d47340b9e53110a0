# SPDX-License-Identifier: Apache-2.0
"""Runs the raw floor and the driver calls by turns and prints each measure beside the bar it should reach.

    report.py RAW_PROGRAM DRIVER_COMMAND...

Both are run ROUNDS times and the best of each measure counts on both sides: what else the machine does can only make a
measure worse.
"""
import os
import re
import subprocess
import sys

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))


def output_of(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        sys.exit(f"bench: {' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    print("\n".join(f"    {line}" for line in done.stdout.splitlines()))
    return done.stdout


def numbers(pattern, texts):
    """The number in the first line that matches, from each text; empty where a client does not print the measure."""
    found = [re.search(pattern, text, re.MULTILINE) for text in texts]
    return [float(match.group(1)) for match in found if match]


def main():
    raw_program, driver_command = sys.argv[1], sys.argv[2:]
    raw, calls = [], []
    for turn in range(1, ROUNDS + 1):
        print(f"raw TCP, {turn} of {ROUNDS}:\n")
        raw.append(output_of([raw_program]))
        print(f"\nthrough the driver, {turn} of {ROUNDS}:\n")
        calls.append(output_of(driver_command))
        print()
    ping = min(numbers(r"ping-pong:.* ([\d.]+) us", raw))
    up, down = max(numbers(r"upload 256MiB: ([\d.]+)", raw)), max(numbers(r"download 256MiB: ([\d.]+)", raw))

    rows = []

    def row(measure, value, ratio, bar, is_reached):
        rows.append((measure, value, ratio, bar, "yes" if is_reached else "no"))

    launches = max(numbers(r"launch x N \+ sync\s+([\d.]+) calls/s", calls), default=0)
    row("launch with 3 arguments", f"{launches:,.0f}/s", "", "at least 500,000/s", launches >= 500_000)
    for name in ("cuStreamSynchronize", "DtoH 64B"):
        time = min(numbers(rf"{name}\s+[\d.]+ calls/s\s+([\d.]+) us", calls))
        row(f"synchronous call ({name})", f"{time:.1f} us", f"{time / ping:.2f}", "at most 1.2x raw ping-pong",
            time <= 1.2 * ping)
    for kibibytes, size in ((1024, "1 MiB"), (262144, "256 MiB")):
        for direction, floor in (("HtoD", up), ("DtoH", down)):
            rate = max(numbers(rf"^\s*{kibibytes} KiB .*{direction}\s+([\d.]+) GB/s", calls))
            row(f"copy {direction} {size}", f"{rate:.2f} GB/s", f"{rate / floor:.2f}", "at least 0.7x raw",
                rate >= 0.7 * floor)
    fresh = max(numbers(r"DtoH\s+([\d.]+) GB/s into an array", calls), default=0)
    if fresh:
        rows.append(("copy DtoH 256 MiB, fresh array", f"{fresh:.2f} GB/s", f"{fresh / down:.2f}", "none", ""))
    first = min(numbers(r"init to context ([\d.]+) ms", calls))
    row("first call to usable context", f"{first:.1f} ms", "", "at most 20 ms", first <= 20)
    allocated = numbers(r"heap allocations in \d+ launches: (\d+)", calls)
    if allocated:
        # A handful for growing buffers is not one per launch.
        row("heap allocations in all launches", f"{min(allocated):.0f}", "", "none per launch", min(allocated) < 100)

    print("| measure | best found | ratio to raw | bar | reached |\n|---|---|---|---|---|")
    for cells in rows:
        print("| " + " | ".join(cells) + " |")


main()
