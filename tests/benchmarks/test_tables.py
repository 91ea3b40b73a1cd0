"""Marked tables of README and docs say what their result files say, and a run's result comes in by one command."""

import json

import pytest

from benchmarks import tables


@pytest.mark.parametrize("path", tables.documents(), ids=lambda path: path.name)
def test_the_marked_tables_of_a_document_are_those_of_the_result_files(path):
    text = path.read_text(encoding="utf-8")
    assert tables.written(text) == text, "stale: run python -m benchmarks.tables"


def test_every_result_file_has_its_table_in_a_document():
    text = "".join(path.read_text(encoding="utf-8") for path in tables.documents())
    assert {path.stem for path in tables.RESULTS.glob("*.json")} == {
        name.partition(".")[0] for name in tables.MARKED.findall(text)
    }


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A small repository with one marked table."""
    monkeypatch.setattr(tables.config, "ROOT", tmp_path)
    monkeypatch.setattr(tables, "RESULTS", tmp_path / "docs" / "results")
    tables.RESULTS.mkdir(parents=True)
    (tmp_path / "README.md").write_text("# One\n\n<!-- table speed: python -m x -->\n<!-- end -->\n\nMore.\n")
    return tmp_path


def test_a_table_that_a_benchmark_printed_comes_in_by_one_command(repository):
    printed = repository / "printed.md"
    printed.write_text("## Speed\n\n| what | a second |\n|---|---|\n| a \\| b | 12 |\n| c | 3 |\n")
    assert tables.main(["--from", str(printed), "speed", "--command", "python -m speed"]) == 0
    shown = (repository / "README.md").read_text()
    assert "<!-- table speed: python -m speed -->\n| what | a second |\n" in shown
    assert "| a \\| b | 12 |\n| c | 3 |\n" in shown
    assert shown.startswith("# One\n") and shown.endswith("\nMore.\n")


def test_an_evaluation_fills_one_column_of_the_rows_that_are_there(repository):
    cells = {"value": 0.5, "low": 0.25, "high": 0.75}
    scored = {"metrics": {"anls": cells}, "n": 8, "documents": 3, "unreadable": 0, "reliability": [], "fields": {}}
    metrics = {"label": "gguf-Q8_0", "tasks": {"question": scored}, "tokens_per_second": None}
    (repository / "metrics.json").write_text(json.dumps(metrics))
    old = {"command": "a", "columns": ["task", "metric", "old"], "rows": [["question", "ANLS", "1"], ["x", "y", "2"]]}
    old["views"] = {"short": {"columns": ["metric", "new"], "rows": [["question"]]}}
    (tables.RESULTS / "speed.json").write_text(json.dumps(old))
    (repository / "README.md").write_text("<!-- table speed.short: a -->\n<!-- end -->\n")
    assert tables.main(["--from", str(repository), "speed", "--column", "new", "--command", "b"]) == 0
    result = json.loads((tables.RESULTS / "speed.json").read_text())
    assert result["columns"] == ["task", "metric", "old", "new"]
    assert result["rows"] == [["question", "ANLS", "1", "50.0 (25.0 - 75.0)"], ["x", "y", "2", ""]]
    assert "| metric | new |\n| --- | --- |\n| ANLS | 50.0 (25.0 - 75.0) |\n" in (repository / "README.md").read_text()


def test_a_new_result_needs_the_command_that_made_it(repository):
    printed = repository / "printed.md"
    printed.write_text("| a |\n|---|\n| 1 |\n")
    with pytest.raises(tables.files.StageError, match="--command"):
        tables.main(["--from", str(printed), "other"])
