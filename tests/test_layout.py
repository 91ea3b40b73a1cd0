"""Imports point one way and cost little; the tree is the one that the README shows."""

import ast
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
GENERATORS = {"extraction.generate_receipts", "extraction.generate_invoices", "extraction.generate_letters"}
BASIC = {
    "extraction.handoff",
    "extraction.documents",
    "extraction.sentences",
    "extraction.tasks",
    "extraction.generate",
    "extraction.generate_orders",
    "extraction.orders",
    "extraction.text_files",
    "extraction.variations",
    "extraction.values",
}
SHARED = {
    "extraction.experts",
    "extraction.metrics",
    "extraction.models",
    "extraction.memory",
    "extraction.llama_source",
    "extraction.lora",
    "extraction.gguf_build",
    "extraction.gguf_quality",
    "extraction.cards",
    "extraction.report",
    "extraction.score_tables",
    "extraction.scores",
    "extraction.grounding",
    "extraction.confidence",
    "extraction.checks",
    "extraction.page_view",
    "extraction.backends",
    "extraction.batch",
    "extraction.environment",
    "extraction.output",
    "extraction.own_schema",
} | BASIC
ALLOWED = {
    "config": set(),
    "extraction.handoff": set(),
    "extraction.documents": {"extraction.limits", "extraction.ocr", "extraction.text_files", "extraction.worker"},
    "extraction.limits": set(),
    "extraction.ocr": {"extraction.limits"},
    "extraction.pdf": {"extraction.limits", "extraction.ocr"},
    "extraction.pages": {"extraction.limits", "extraction.ocr", "extraction.pdf", "extraction.text_files"},
    "extraction.text_files": {"extraction.limits"},
    "extraction.worker": {"extraction.handoff", "extraction.limits", "extraction.pages"},
    "extraction.sentences": set(),
    "extraction.tasks": {"extraction.sentences"},
    "extraction.generate": {"extraction.generate_parts"} | GENERATORS,
    "extraction.generate_parts": set(),
    "extraction.generate_words": set(),
    "extraction.generate_orders": {"extraction.sentences"},
    **{generator: {"extraction.generate_parts", "extraction.generate_words"} for generator in GENERATORS},
    "extraction.experts": set(),
    "extraction.metrics": {"extraction.tasks"},
    "extraction.report": set(),
    "extraction.score_tables": {"extraction.metrics", "extraction.report"},
    "extraction.scores": {"extraction.confidence", "extraction.grounding", "extraction.metrics", "extraction.tasks"},
    "extraction.memory": {"config", "extraction.handoff"},
    "extraction.orders": set(),
    "extraction.values": set(),
    "extraction.variations": set(),
    "extraction.llama_source": {"extraction.handoff"},
    "extraction.lora": {"extraction.handoff"},
    "extraction.gguf_build": {"extraction.handoff", "extraction.lora", "extraction.tasks"},
    "extraction.gguf_quality": {"extraction.handoff"},
    "extraction.cards": set(),
    "extraction.confidence": {"extraction.grounding", "extraction.handoff", "extraction.tasks"},
    "extraction.grounding": {"extraction.documents", "extraction.metrics", "extraction.tasks", "extraction.values"},
    "extraction.checks": {"extraction.tasks", "extraction.values"},
    "extraction.page_view": {"extraction.checks", "extraction.documents", "extraction.output"},
    "extraction.models": {"extraction.handoff", "extraction.tasks"},
    "extraction.backends": {"extraction.confidence", "extraction.handoff", "extraction.models"},
    "extraction.batch": {"extraction.documents", "extraction.handoff", "extraction.output"},
    "extraction.environment": {"extraction.documents", "extraction.handoff"},
    "extraction.output": {"extraction.handoff"},
    "extraction.own_schema": {"extraction.handoff", "extraction.tasks"},
    **{
        stage: {"config"} | SHARED for stage in ("download_datasets", "prepare_training_data", "train_moe", "inference")
    },
    **{stage: {"config", "inference"} | SHARED for stage in ("test_moe", "export_gguf", "app")},
}
HEAVY = {"torch", "transformers", "trl", "peft", "datasets", "gradio", "llama_cpp", "gguf", "unsloth", "matplotlib"}
HEAVY |= {"huggingface_hub", "pyarrow", "rapidocr", "onnxruntime", "numpy", "pandas"}


def path_of(module):
    return Path(module.replace(".", "/") + ".py")


def test_every_module_is_known_here():
    found = {p.stem for p in Path(".").glob("*.py")} | {f"extraction.{p.stem}" for p in Path("extraction").glob("*.py")}
    assert found - {"extraction.__init__"} == set(ALLOWED)


@pytest.mark.parametrize("module", ALLOWED)
def test_a_module_imports_only_what_it_may(module):
    imported = set()
    for node in ast.walk(ast.parse(path_of(module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
    project = imported & set(ALLOWED)
    assert project <= ALLOWED[module]


@pytest.mark.parametrize("module", ALLOWED)
def test_importing_a_module_is_light_and_has_no_effect(module, tmp_path):
    code = f"import sys, {module}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    assert done.stderr == ""


@pytest.mark.parametrize(("number", "stage"), list(enumerate(STAGES, start=1)))
def test_each_stage_says_its_number_what_it_reads_and_writes_and_what_comes_next(number, stage):
    text = ast.get_docstring(ast.parse(path_of(stage).read_text(encoding="utf-8")))
    assert text.startswith(f"Stage {number} of 7: ")
    assert "\nReads " in text
    assert "\nWrites " in text
    assert f"\n    python {stage}.py" in text
    assert ("\nNext " in text) == (stage != "app")


@pytest.mark.parametrize("stage", [*STAGES, "config"])
def test_each_stage_shows_its_docstring_as_help_and_refuses_unknown_settings(stage):
    shown = subprocess.run([sys.executable, f"{stage}.py", "--help"], capture_output=True, text=True, check=True).stdout
    first = ast.get_docstring(ast.parse(path_of(stage).read_text(encoding="utf-8"))).splitlines()[0]
    assert first in shown
    extra = ["x.txt"] if stage == "inference" else []
    refused = subprocess.run(
        [sys.executable, f"{stage}.py", *extra, "--set", "train.lora_rnk=1"], capture_output=True, text=True
    )
    assert refused.returncode == 2
    assert "Did you mean train.lora_rank?" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_nothing_loads_pickles_or_remote_code():
    for path in [*Path(".").glob("*.py"), *Path("extraction").glob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert "trust_remote_code" not in text
        assert "import pickle" not in text and "torch.load" not in text
