# SPDX-License-Identifier: Apache-2.0
"""Help, manual pages and completions: all from the commands' own descriptions."""
import json
import re
import shutil
import subprocess

import pytest
from conftest import BITFUSION, ROOT, TREE, environment, run

MANUAL = TREE / "share" / "man" / "man1"
COMPLETIONS = {
    "bash": TREE / "share" / "bash-completion" / "completions" / "bitfusion",
    "zsh": TREE / "share" / "zsh" / "site-functions" / "_bitfusion",
    "fish": TREE / "share" / "fish" / "vendor_completions.d" / "bitfusion.fish",
}
# The list of the product's guide: group, name with its short form, words; of the commands that exist.
GUIDE = [
    ("COMMANDS:", "version, v", "Display full Bitfusion version"),
    ("COMMANDS:", "localhealth, LH", "Run health check on current node only"),
    ("COMMANDS:", "dealloc", "Deallocate license certificate."),
    ("COMMANDS:", "crashreport", "Write a crash report into a file; nothing is sent anywhere"),
    ("COMMANDS:", "license", "Check license status"),
    ("COMMANDS:", "list_gpus", "List the available GPUs in a shared pool"),
    ("COMMANDS:", "help, h", "Shows a list of commands or help for one command"),
    ("Client Commands:", "client, c", "Run application"),
    ("Client Commands:", "health, H", "Run health check on all specified servers and current node"),
    ("Client Commands:", "request_gpus", "Request GPUs from a shared pool"),
    ("Client Commands:", "release_gpus",
     "Release GPUs back into a shared pool. Options must match a previous request_gpus command"),
    ("Client Commands:", "run",
     "Request GPUs from a shared pool, run a client command, then release the GPUs"),
    ("Client Commands:", "stats", "Gather stats from all servers."),
    ("Client Commands:", "smi", "Display smi-like info for all servers."),
    ("Client Commands:", "local", "Run a CUDA application locally"),
    ("Client Commands:", "net_perf", "Gather network performance data from all SRS servers."),
    ("Client Commands:", "trace", "Show what a traced application's CUDA calls cost"),
    ("Server Commands:", "resource_scheduler, srs", "Run Bitfusion resource scheduler (SRS) on GPU server"),
    ("Server Commands:", "manager", "Run Bitfusion manager server"),
]
NAMES = [name.split(",")[0] for _, name, _ in GUIDE]


def commands():
    dump = json.loads(run([BITFUSION, "--experimental-dump-help"]).stdout)
    # The last one is a `help` that the argument parser's library adds.
    return [command for command in dump["command"]["subcommands"][:-1] if command["shouldDisplay"]]


def listed(text):
    """(group, name, words) of each command in the overview."""
    found, group = [], None
    for line in text.splitlines():
        if line.strip() and line.endswith(":"):
            group = line.strip()
        entry = re.fullmatch(r" {8}(\S+(?:, \S+)?)  +(\S.*)", line)
        if entry:
            found.append((group, entry[1], entry[2]))
    return found


@pytest.mark.parametrize("words", [["help"], ["h"], ["-h"], ["--help"], []])
def test_overview(words):
    """CLI-57, CLI-58, CLI-61, CLI-65, CLI-72..81: the guide's list in its groups and its words."""
    finished = run([BITFUSION, *words])
    assert finished.returncode == 0 and finished.stderr == "", str(finished)
    assert listed(finished.stdout) == GUIDE
    for part in ("NAME:", "USAGE:", "EXAMPLES:", "bitfusion help [command]"):
        assert part in finished.stdout


def test_version():
    """CLI-49, CLI-60."""
    for word in ("version", "v"):
        assert re.fullmatch(r"Bitfusion version: \d+\.\d+\.\d+ release\n", run([BITFUSION, word]).stdout)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_describes_itself(name):
    """CLI-57."""
    by_name = run([BITFUSION, "help", name])
    assert by_name.returncode == 0 and "USAGE:" in by_name.stdout, str(by_name)
    by_flag = run([BITFUSION, name, "--help"])
    assert by_flag.stdout == by_name.stdout and by_flag.returncode == 0


def test_aliases_have_help():
    for name, alias in (("client", "c"), ("version", "v"), ("help", "h"), ("health", "H"), ("localhealth", "LH")):
        assert run([BITFUSION, "help", alias]).stdout == run([BITFUSION, "help", name]).stdout


@pytest.mark.parametrize("name", ["run", "client", "request_gpus", "release_gpus", "list_gpus", "smi", "stats", "net_perf",
                                  "health", "localhealth"])
def test_what_a_command_reads_and_returns_is_described(name):
    text = run([BITFUSION, "help", name]).stdout
    assert "EXIT STATUS" in text and "FILES" in text


@pytest.mark.parametrize("name", ["list_gpus", "smi", "stats", "net_perf", "health", "localhealth"])
def test_what_lists_can_print_json(name):
    command, = [command for command in commands() if command["commandName"] == name]
    assert "json" in [argument["preferredName"]["name"] for argument in command["arguments"] if argument.get("names")]


def test_no_command_of_that_name():
    for words in (["help", "fly"], ["fly"]):
        finished = run([BITFUSION, *words])
        assert finished.returncode == 64 and "fly" in finished.stderr and len(finished.stderr.splitlines()) == 1


# Manual pages

def test_each_command_has_a_page():
    assert {page.name for page in MANUAL.glob("*")} == {"bitfusion.1"} | {f"bitfusion-{name}.1" for name in NAMES}


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
@pytest.mark.parametrize("name", ["bitfusion"] + [f"bitfusion-{name}" for name in NAMES])
def test_pages_are_without_mistakes(name):
    checked = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", MANUAL / f"{name}.1"], capture_output=True, text=True,
                             check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("man"), reason="man is not installed")
def test_a_page_shows_every_option():
    shown = run(["man", "-l", MANUAL / "bitfusion-run.1"], environment(MANWIDTH=100, MANPAGER="cat", LC_ALL="C.UTF-8"))
    text = re.sub(r"\s+", " ", shown.stdout.replace("‐\n", ""))
    command, = [command for command in commands() if command["commandName"] == "run"]
    for argument in command["arguments"]:
        for name in argument.get("names", []):
            assert ("--" if name["kind"] == "long" else "-") + name["name"] in text
    for section in ("SYNOPSIS", "OPTIONS", "EXIT STATUS", "FILES", "ENVIRONMENT", "SEE ALSO"):
        assert section in text
    assert "75 no GPUs within the time" in text and "~/.bitfusion/servers.conf" in text


def test_the_managers_page_has_the_servers_options():
    assert "\\-\\-data\\-dir" in (MANUAL / "bitfusion-manager.1").read_text()


# Completions

def completions(line):
    """What bash offers at the end of a line."""
    script = """
        source "$1"
        COMP_LINE=$2 COMP_POINT=${#2}
        read -ra COMP_WORDS <<<"$2"
        [[ $2 == *" " ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        entry=$(complete -p bitfusion) && function=${entry##*-F } && function=${function%% *}
        $function bitfusion "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" 2>/dev/null
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    return run(["bash", "-O", "extglob", "-c", script, "bash", COMPLETIONS["bash"], line],
               environment(PATH=f"{TREE / 'bin'}:/usr/bin:/bin")).stdout.split()


def test_bash_completes_commands():
    assert sorted(word for word in completions("bitfusion ") if not word.startswith("-")) == sorted(NAMES)
    assert completions("bitfusion re") == ["request_gpus", "release_gpus", "resource_scheduler"]


def test_bash_completes_options():
    offered = completions("bitfusion run --")
    assert {"--num_gpus", "--memory", "--filter", "--quiet"} <= set(offered)
    assert set(completions("bitfusion help s")) == {"stats", "smi"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_are_of_this_program(shell):
    text = COMPLETIONS[shell].read_text()
    assert "Show subcommand help" not in text
    assert all(name in text for name in NAMES) and "hold_gpus" not in text
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n", COMPLETIONS[shell]], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr


# Files of the package

def test_limits_are_those_of_the_guide():
    """CFG-10..14: the whole of bitfusion-limits.conf."""
    expected = ("@bitfusion soft nofile 100000\n@bitfusion hard nofile 100000\n@bitfusion soft memlock unlimited\n"
                "@bitfusion hard memlock unlimited\n@bitfusion soft rss unlimited\n@bitfusion hard rss unlimited\n")
    assert (ROOT / "packaging" / "bitfusion-limits.conf").read_bytes() == expected.encode()
    assert (TREE / "share" / "bitfusion" / "bitfusion-limits.conf").read_bytes() == expected.encode()
