"""What the README tells people to type exists, and the tree it shows is the tree there is."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import config

TEXT = Path("README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(?:bash|sh)\n(.*?)```", TEXT, re.S)
COMMANDS = sorted(
    {
        line.split("  #")[0].strip()
        for block in BLOCKS
        for line in block.replace("\\\n", " ").splitlines()
        if line.strip()
    }
)
STAGE_COMMANDS = [c for c in COMMANDS if re.match(r"(?:\.venv/bin/)?python \w+\.py", c)]


def test_the_readme_shows_commands():
    assert len(STAGE_COMMANDS) >= 8
    assert {"make demo", "make test"} <= set(COMMANDS)


@pytest.mark.parametrize("command", STAGE_COMMANDS)
def test_every_option_of_a_printed_command_exists(command):
    words = shlex.split(command)
    script, arguments = words[1], words[2:]
    shown = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=True).stdout
    for number, word in enumerate(arguments):
        if word.startswith("-") and word != "-":
            assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", shown), word
        if word == "--set":
            config.override(config.PROFILES["cpu"], arguments[number + 1])
        if word.startswith("data/samples/"):
            assert Path(word).exists(), word


def test_make_targets_exist():
    targets = set(re.findall(r"^(\w+):", Path("Makefile").read_text(), re.M))
    for command in COMMANDS:
        if command.startswith("make "):
            assert command.split()[1] in targets


def test_the_tree_names_every_file_at_the_top_and_in_extraction():
    tree = TEXT[TEXT.index("## The tree") :]
    for path in [*Path(".").glob("*.py"), *Path("extraction").glob("[a-z]*.py"), *Path(".").glob("requirements*.txt")]:
        assert path.name in tree, path
    for name in re.findall(r"^([\w.]+\.(?:py|txt|toml|md))\b", tree, re.M):
        assert Path(name).exists(), name


def test_links_to_files_lead_somewhere():
    for target in re.findall(r"\]\(((?!http)[^)#]+)\)", TEXT):
        assert Path(target).exists(), target


def test_profiles_and_settings_that_are_named_exist():
    known = set(config.settings(config.PROFILES["cpu"]))
    named = set(re.findall(r"`((?:data|train|evaluate|inference|export|app|output)\.[a-z_.]+)`", TEXT))
    assert {n for n in named if not n.endswith(".py")} <= known
