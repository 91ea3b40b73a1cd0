"""Imports point one way and cost little; the tree is the one that the README shows."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

STAGES = [
    "download_datasets",
    "prepare_training_data",
    "train_moe",
    "test_moe",
    "inference",
    "export_gguf",
    "app",
]
# A file imports only from rows above its own, and within a row from files before it.
ROWS = """
extraction.reading: limits
config
extraction: files handoff stage
extraction.tasks: schemas definitions custom sentences first_look records prompts completions detection
extraction.download: sources web hub
extraction.reading: words
extraction.formats: plain kinds einvoice archives docx_looks docx_lists docx html mail unpack unpaged
extraction.reading: ocr pdf pdf_text pdf_fonts pdf_page pages worker
extraction.reading: columns directions paper layout documents
extraction: cord own_folder
extraction.tasks: own_types
extraction.models: rows routing base_file float32 upcycle base_model lora confidence fit gpu contexts backends http
extraction.models: choice processes
extraction.evidence: values injections problems checks grounding printed typed
extraction.download: labels own
extraction: splitting steps drafts
extraction.synthetic: words parts till receipt_items receipt_totals receipts
extraction.synthetic: invoices letters injected variations generate nothing general own questions
extraction.preparing: sources duplicates labeled statistics
extraction.training: expert_lora memory log checkpoints adapter watched unsloth_model callback batches distilled
extraction.scoring: metrics differences places scores report tables experts
extraction.runs: workers results label environment
extraction.export: llama_source gguf_build quality bundle
extraction.page: edits jobs view opened strip widgets server keep review
"""
ORDER = [
    ".".join(filter(None, (room, name)))
    for row in ROWS.split("\n")
    for room, names in [row.split(": ") if ": " in row else ("", row)]
    for name in names.split()
]
OWNERS = {"download": "download_datasets", "synthetic": "prepare_training_data", "training": "train_moe"}
OWNERS |= {
    "preparing": "prepare_training_data",
    "scoring": "test_moe",
    "runs": "inference",
    "export": "export_gguf",
    "page": "app",
}


def imports_of(path: Path) -> set[str]:
    """The files of the project that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & {*ORDER, *STAGES}


def test_every_file_stands_in_a_row_and_imports_only_from_rows_above():
    files = {".".join(p.with_suffix("").parts): p for p in Path("extraction").rglob("*.py") if p.stem != "__init__"}
    assert sorted([*files, "config"]) == sorted(ORDER)
    wrong = {
        f"{name} imports {other}"
        for name, path in files.items()
        for other in imports_of(path)
        if other not in ORDER or ORDER.index(other) >= ORDER.index(name)
    }
    assert wrong == set()


def test_a_stages_room_is_imported_by_that_stage_alone_and_only_app_imports_a_stage():
    for stage in STAGES:
        imported = imports_of(Path(f"{stage}.py"))
        assert imported & {*STAGES} <= ({"inference"} if stage == "app" else set()), stage
        assert {room for room in OWNERS if any(f".{room}." in name for name in imported)} <= {
            room for room, owner in OWNERS.items() if owner == stage
        }, stage


def test_files_and_functions_are_short_enough_to_be_read():
    sizes = {path: 600 for path in Path(".").glob("*.py")} | {path: 500 for path in Path("extraction").rglob("*.py")}
    long = []
    for path, most in sizes.items():
        text = path.read_text(encoding="utf-8")
        long += [f"{path}: {text.count(chr(10))} lines"] if text.count("\n") > most else []
        for node in ast.walk(ast.parse(text)):
            lines = node.end_lineno - node.lineno + 1 if isinstance(node, ast.FunctionDef) else 0
            long += [f"{path}: {node.name} has {lines} lines"] if lines > 60 else []
    assert long == []


HEAVY = {"torch", "transformers", "trl", "peft", "datasets", "gradio", "llama_cpp", "gguf", "unsloth", "matplotlib"}
HEAVY |= {"huggingface_hub", "pyarrow", "rapidocr", "onnxruntime", "numpy", "pandas"}


def test_importing_every_module_is_light_and_has_no_effect():
    code = f"import sys, {', '.join([*ORDER, *STAGES])}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    assert done.stderr == ""


@pytest.mark.parametrize(("number", "stage"), list(enumerate(STAGES, start=1)))
def test_each_stage_says_its_number_what_it_reads_and_writes_and_what_comes_next(number, stage):
    text = ast.get_docstring(ast.parse(Path(f"{stage}.py").read_text(encoding="utf-8")))
    assert text.startswith(f"Stage {number} of 7: ")
    assert "\nReads " in text
    assert "\nWrites " in text
    assert f"\n    python {stage}.py" in text
    assert ("\nNext " in text) == (stage != "app")


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_shows_its_docstring_as_help_and_refuses_unknown_settings(stage, capsys):
    module = importlib.import_module(stage)
    with pytest.raises(SystemExit) as ended:
        module.main(["--help"])
    assert ended.value.code == 0
    assert ast.get_docstring(ast.parse(Path(f"{stage}.py").read_text(encoding="utf-8"))) in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        module.main([*(["x.txt"] if stage == "inference" else []), "--set", "train.lora_rnk=1"])
    assert ended.value.code == 2
    assert "Did you mean train.lora_rank?" in capsys.readouterr().err
