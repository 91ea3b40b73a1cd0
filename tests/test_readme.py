"""What README and docs tell people to type exists, links lead somewhere, and the tree shown is the tree there is."""

import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest

import config

README = Path("README.md")
PAGES = [README, Path("SECURITY.md"), *sorted(Path("docs").glob("*.md")), *sorted(Path(".").glob("*/README.md"))]
PAGES += [Path("data/embedded/README.md"), Path("data/samples/NOTICE.md")]
TEXTS = {path: path.read_text(encoding="utf-8") for path in PAGES}
COMMANDS = sorted(
    {
        line.split("  #")[0].strip()
        for text in TEXTS.values()
        for block in re.findall(r"```bash\n(.*?)```", text, re.S)
        for line in block.replace("\\\n", " ").splitlines()
        if line.strip()
    }
)


def arguments(name: str) -> list[list[str]]:
    """What is written behind the program in each shown command that runs a script or a benchmark."""
    shown = [shlex.split(command.partition(" | ")[0]) for command in COMMANDS]
    return [words[words.index(name) + 1 :] for words in shown if name in words]


PROGRAMS = sorted({found for text in COMMANDS for found in re.findall(r"(?<=python )(?:-m )?[\w.]+", text)})


def test_the_readme_is_short_and_shows_how_to_begin():
    assert len(README.read_bytes()) <= 12 * 1024
    assert {"make demo", "make test", "python app.py"} <= set(COMMANDS)
    assert len([name for name in PROGRAMS if name.endswith(".py")]) == 8


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_of_a_shown_command_exists(program, monkeypatch, capsys):
    name = program.removeprefix("-m ").removesuffix(".py")
    if name == "config":
        known = config.parser(config.__doc__).format_help()
    else:
        monkeypatch.setattr(sys, "argv", [program, "--help"])
        with pytest.raises(SystemExit) as ended:
            importlib.import_module(name).main()
        known = capsys.readouterr().out
        assert ended.value.code == 0
    for words in arguments(program.removeprefix("-m ")):
        for number, word in enumerate(words):
            if word.startswith("-") and word != "-":
                assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", known), word
            if word == "--set":
                config.override(config.PROFILES["cpu"], words[number + 1])
            if word.startswith("data/samples/"):
                assert Path(word).exists(), word


def test_make_targets_exist():
    targets = set(re.findall(r"^(\w+):", Path("Makefile").read_text(), re.M))
    named = re.findall(r"`make (\w+)", "".join(TEXTS.values()))
    assert {*named, *(command.split()[1] for command in COMMANDS if command.startswith("make "))} <= targets


def test_the_tree_shows_the_rooms_and_folders_that_there_are():
    tree = re.search(r"## Rooms\n.*?```\n(.*?)```", TEXTS[README], re.S)[1]
    assert tree.count("\n") <= 15
    named = set(re.findall(r"(\w+)/", tree))
    rooms = {path.parent.name for path in Path("extraction").glob("*/__init__.py")}
    top = {path.parent.name for path in Path(".").glob("[a-z]*/[!.]*") if path.parent.name not in ("output", "venv")}
    assert rooms | top <= named
    for name in named - rooms - {"datasets", "training"}:
        assert any(Path(place, name).is_dir() for place in (".", "data", "docs")), name
    for path in Path("extraction").glob("[a-z]*.py"):
        assert path.name in tree, path


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_to_files_and_headings_that_exist(page):
    for target in re.findall(r"\]\(((?!http)[^)]+)\)", TEXTS[page]):
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M)
            assert anchor in map(slug, headings), target


def test_settings_that_are_named_exist():
    known = set(config.settings(config.PROFILES["cpu"]))
    sections = "data|train|evaluate|inference|export|app|output"
    for page, text in TEXTS.items():
        named = {name for name in re.findall(rf"`((?:{sections})\.[a-z_.]+)[`=]", text) if not name.endswith(".py")}
        assert named <= known | {"inference.extract"}, page


def test_files_that_are_named_in_code_exist():
    for page, text in TEXTS.items():
        for name in re.findall(r"`((?:extraction|benchmarks|tests|docs|deploy)/[\w./]+\.\w+)`", text):
            assert Path(name).exists(), (page, name)


def test_the_readme_of_the_benchmarks_names_each_of_them():
    text = TEXTS[Path("benchmarks/README.md")]
    for path in Path("benchmarks").glob("[a-z]*.py"):
        assert f"`{path.stem}`" in text, path
