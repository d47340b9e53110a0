# SPDX-License-Identifier: Apache-2.0
"""Runs the raw floor and the driver calls in the same minute and prints each measure beside the bar it should reach.

    report.py RAW_PROGRAM DRIVER_COMMAND...
"""
import re
import subprocess
import sys


def output_of(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        sys.exit(f"bench: {' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    print("\n".join(f"    {line}" for line in done.stdout.splitlines()))
    return done.stdout


def number(pattern, text):
    """The number in the first line that matches, or None: a measure another client may not print."""
    found = re.search(pattern, text)
    return float(found.group(1)) if found else None


def main():
    raw_program, driver_command = sys.argv[1], sys.argv[2:]
    print("raw TCP:\n")
    raw = output_of([raw_program])
    print("\nthrough the driver:\n")
    calls = output_of(driver_command)
    ping = number(r"ping-pong:.* ([\d.]+) us", raw)
    up, down = number(r"upload 256MiB: ([\d.]+)", raw), number(r"download 256MiB: ([\d.]+)", raw)

    rows = []

    def row(measure, value, unit, bar, is_reached, ratio=""):
        if value is not None:
            rows.append((measure, f"{value:,.2f} {unit}".replace(".00 ", " "), ratio, bar, "yes" if is_reached else "no"))

    launches = number(r"launch x N \+ sync\s+([\d.]+) calls/s", calls)
    row("launch with 3 arguments", launches, "/s", "at least 500,000/s", launches and launches >= 500_000)
    for name in ("cuStreamSynchronize", "DtoH 64B"):
        time = number(rf"{name}\s+[\d.]+ calls/s\s+([\d.]+) us", calls)
        if time:
            row(f"synchronous call ({name})", time, "us", "at most 1.2x raw ping-pong", time <= 1.2 * ping,
                f"{time / ping:.2f}")
    for kibibytes, size in ((1024, "1 MiB"), (262144, "256 MiB")):
        line = re.search(rf"^\s*{kibibytes} KiB .*$", calls, re.MULTILINE)
        for direction, floor in (("HtoD", up), ("DtoH", down)):
            rate = number(rf"{direction}\s+([\d.]+) GB/s", line.group(0)) if line else None
            if rate:
                row(f"copy {direction} {size}", rate, "GB/s", "at least 0.7x raw", rate >= 0.7 * floor,
                    f"{rate / floor:.2f}")
    first = number(r"init to context ([\d.]+) ms", calls)
    row("first call to usable context", first, "ms", "at most 20 ms", first and first <= 20)
    allocated = re.search(r"heap allocations in (\d+) launches: (\d+)", calls)
    if allocated:
        per_launch = int(allocated.group(2)) / int(allocated.group(1))
        row("heap allocations per launch", per_launch, "", "none", per_launch < 0.001)

    print("\n| measure | found | ratio to raw | bar | reached |\n|---|---|---|---|---|")
    for cells in rows:
        print("| " + " | ".join(cells) + " |")


main()
