# SPDX-License-Identifier: Apache-2.0
"""The guide: its pages, and that the commands in them exist with the options that they are given."""
import json
import re
import shlex

import pytest
from conftest import BITFUSION, ROOT, TREE, run

DOCS = ROOT / "docs"
# ARC-12 and ARC-19: allocating and attaching, partitioning, configuring, monitoring; and how it all begins.
PAGES = {"installation.md": ["apt install", "usermod -aG bitfusion", "bitfusion run"],
         "allocations.md": ["bitfusion run", "request_gpus", "bitfusion client", "release_gpus", "Slurm", "srun"],
         "partitioning.md": [" -p ", " -m ", "batch", "experiment"],
         "configuration.md": ["servers.conf", "settings.json", "manager.env", "ulimit"],
         "monitoring.md": ["list_gpus", "bitfusion smi", "bitfusion stats", "net_perf", "nvidia-smi", "journalctl"]}
# A command of ours up to what ends it for the shell; `usermod -aG bitfusion ada` is none.
COMMAND = re.compile(r"""(?<!-aG )(?:^|(?<=[\s"'$(|&]))bitfusion ((?:-l \S+ )?[a-z_]+\b[^`|;&)#]*)""")


def described(program):
    """The names of each command's options, and whether an option takes a value."""
    dump = json.loads(run([program, "--experimental-dump-help"]).stdout)
    found = {}
    for command in dump["command"]["subcommands"]:
        options = {("-" if name["kind"] != "long" else "--") + name["name"]: argument["kind"] == "option"
                   for argument in command.get("arguments", []) for name in argument.get("names", [])}
        for name in [command["commandName"], *command.get("aliases", [])]:
            found.setdefault(name, options)
    return found


@pytest.fixture(scope="module")
def commands():
    return described(BITFUSION) | {"manager": described(TREE / "bin" / "bitfusion-server")["manager"]}


def shown(page):
    """The commands in a page's blocks and in its lines, as lists of words."""
    text = page.read_text()
    found = []
    for code in re.findall(r"^ {4,}(.*)$", text, re.MULTILINE) + re.findall(r"`([^`\n]+)`", text):
        for words in COMMAND.findall(code):
            # What follows in the line after some spaces says what the command is for.
            found.append(shlex.split(re.split(r" {3,}", words.strip())[0].replace('"', " ").replace("'", " ")))
    return found


def mistake(words, commands):
    """What is wrong with a command line, in words; None when nothing is."""
    if words[0] == "-l":
        words = words[2:]
    name, rest = words[0], words[1:]
    if name not in commands:
        return f"there is no command {name}"
    while rest:
        word = rest.pop(0)
        if word == "--" or not word.startswith("-"):
            # The application; or, as of `help`, a command.
            return None if name != "help" or word in commands else f"there is no command {word}"
        option = word.partition("=")[0]
        if option not in commands[name]:
            return f"{name} has no option {option}"
        if commands[name][option] and "=" not in word:
            if not rest:
                return f"{name} {option} is without a value"
            rest.pop(0)
    return None


def test_readme_links_the_guide():
    """ARC-12, ARC-19, CLI-19."""
    readme = (ROOT / "README.md").read_text()
    order = [readme.index(f"](docs/{page})") for page in PAGES]
    assert order == sorted(order)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_covers_its_subject(page):
    """ARC-12, ARC-19, CLI-19."""
    text = (DOCS / page).read_text()
    assert [part for part in PAGES[page] if part not in text] == []
    for link in re.findall(r"\]\(([\w./-]+)\)", text):
        assert (DOCS / link).exists(), f"{page} links {link}"


def test_installation_comes_in_the_order_of_the_guide():
    """ARC-12: server, client, first run."""
    headings = re.findall(r"^## (\d\. .*)$", (DOCS / "installation.md").read_text(), re.MULTILINE)
    assert headings == ["1. A server", "2. A client", "3. The first run"]


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{page}" for page in PAGES)])
def test_the_commands_of_a_page_exist(page, commands):
    """ARC-19: with these options."""
    found = shown(ROOT / page)
    assert len(found) >= 3
    mistakes = {" ".join(words): mistake(list(words), commands) for words in found}
    assert {line: wrong for line, wrong in mistakes.items() if wrong} == {}


@pytest.mark.parametrize("line, wrong", [
    ("run -n 1 --fast -- x", "run has no option --fast"), ("fly -n 1", "there is no command fly"),
    ("help fly", "there is no command fly"), ("run -n", "run -n is without a value"), ("run -n 1 -- x --fast", None)])
def test_mistakes_would_be_found(line, wrong, commands):
    assert mistake(line.split(), commands) == wrong
