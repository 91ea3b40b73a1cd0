"""Reading with a GGUF build needs requirements-inference.txt alone."""

import ast
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.helpers import reading_only

LIGHT, ALL = (reading_only.pinned(name) for name in ("requirements-inference.txt", "requirements.txt"))
# Imported in functions that a GGUF build never calls: the other backends, and the fit of a calibration.
OTHER_MODELS = {"torch", "transformers", "peft", "tokenizers", "scipy", "safetensors"}


def modules_of_reading():
    """The files that inference.py and app.py import, to the last, with the names that each imports."""
    waiting, found = ["inference", "app"], {}
    while waiting:
        path = Path(f"{waiting.pop().replace('.', '/')}.py")
        if not path.is_file() or path in found:
            continue
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        found[path] = names
        waiting += names
    return found


def test_the_versions_are_those_of_the_whole_install():
    assert {name: str(requirement) for name, requirement in LIGHT.items()} == {
        name: str(ALL[name]) for name in LIGHT if name in ALL
    }


def test_every_package_that_reading_imports_comes_with_it():
    owners = metadata.packages_distributions()
    there = reading_only.with_dependencies(set(LIGHT))
    missing = {
        f"{path} imports {name}"
        for path, names in modules_of_reading().items()
        for name in {name.partition(".")[0] for name in names} & set(owners) - OTHER_MODELS
        if not {canonicalize_name(owner) for owner in owners[name]} & there
    }
    assert missing == set()
    assert not {"torch", "transformers", "trl", "peft", "datasets", "accelerate", "matplotlib", "scipy"} & there


def read_with(python, cfg, **options):
    """The result of the sample invoice, read by a Python with the tiny build."""
    build = cfg.gguf_dir.with_name("gguf_base") / "doc-intel-base-F32.gguf"
    command = [python, "inference.py", "data/samples/documents/invoice.pdf", "--model", build]
    command += ["--set", "inference.context_tokens=1024", "--set", "inference.max_new_tokens=48"]
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_a_build_reads_a_document_where_the_packages_of_training_are_missing(tiny_gguf):
    environment = reading_only.environment()
    assert {"torch", "transformers", "trl", "peft", "datasets", "matplotlib", "scipy"} <= set(
        environment["REFUSED"].split()
    )
    result = read_with(sys.executable, tiny_gguf, env=environment)
    assert result["pages"] == 1 and result["document_type"] == "receipt"
    assert result["model"] == "doc-intel-base-F32.gguf"


@pytest.mark.slow
@pytest.mark.network
def test_a_build_reads_a_document_in_an_environment_of_its_own(tiny_gguf, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", "requirements-inference.txt"], check=True)
    assert subprocess.run([python, "-c", "import torch"], capture_output=True).returncode == 1
    assert read_with(python, tiny_gguf)["pages"] == 1
