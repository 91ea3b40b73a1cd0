"""What is installed and loaded is what was meant: locked versions, pinned downloads, no code in data."""

import ast
import importlib.metadata
import re
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import config
import download_datasets
from extraction.export import llama_source
from extraction.models import base_file

CODE = [
    *Path(".").glob("*.py"),
    *(p for room in ("extraction", "benchmarks", "tests/hardening") for p in Path(room).rglob("*.py")),
]
SECURITY = Path("SECURITY.md").read_text(encoding="utf-8")
HEX_40 = re.compile(r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])")


# --- no code in data -----------------------------------------------------------------------------------------

MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {"eval", "exec", "compile", "__import__", "torch.load", "os.system", "os.popen", "tempfile.mktemp"}
CALLS |= {"yaml.load", "yaml.full_load", "yaml.unsafe_load", "pandas.read_pickle", "subprocess.getoutput"}
ARGUMENTS = {"shell", "trust_remote_code", "allow_pickle"}


def dangerous(source):
    """What a source text does that could run code out of data, with line numbers."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            found += [(node.lineno, called)] if called in CALLS else []
            for argument in node.keywords:
                off = isinstance(argument.value, ast.Constant) and argument.value.value is False
                found += [(node.lineno, argument.arg)] if argument.arg in ARGUMENTS and not off else []
            continue
        else:
            continue
        found += [(node.lineno, name) for name in names if name.split(".")[0] in MODULES or name in CALLS]
    return found


def test_the_code_is_all_there():
    assert {"app.py", "inference.py", "lora.py", "privacy.py"} <= {path.name for path in CODE}


@pytest.mark.parametrize("path", CODE, ids=str)
def test_nothing_runs_code_that_came_as_data(path):
    assert dangerous(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.numpy_pickle",
        "from torch import load",
        "torch.load(f)",
        "yaml.load(f, Loader=yaml.SafeLoader)",
        "eval('1')",
        "subprocess.run(x, shell=True)",
        "subprocess.run(x, shell=flag)",
        "AutoModel.from_pretrained(x, trust_remote_code=True)",
        "numpy.load(x, allow_pickle=True)",
        "os.system('ls')",
    ],
)
def test_the_check_knows_what_it_looks_for(source):
    assert dangerous(source)


def test_the_check_leaves_the_harmless_alone():
    assert dangerous("model.eval(); re.compile('x'); yaml.safe_load(f); json.load(f); run(x, shell=False)") == []


def test_weights_in_the_repository_and_of_every_stage_are_safetensors():
    shipped = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in shipped if name.endswith((".bin", ".pt", ".pth", ".pkl", ".ckpt", ".npy", ".npz"))] == []
    assert any(name.endswith(".safetensors") for name in shipped)
    assert "*.bin" not in Path("export_gguf.py").read_text() and "*.safetensors" in Path("export_gguf.py").read_text()


# --- what is installed ---------------------------------------------------------------------------------------


def locked():
    """Name -> version and hashes of requirements.lock."""
    text = Path("requirements.lock").read_text(encoding="utf-8")
    entries = re.findall(r"^([\w.-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.M)
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", " "))]
    assert len(entries) == len(lines)  # no line without a hash
    return {canonicalize_name(name): (version, hashes) for name, version, hashes in entries}


def pinned():
    lines = Path("requirements.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line.split("#")[0]) for line in lines if line.split("#")[0].strip()]


def test_every_pinned_package_is_locked_at_its_version_with_hashes():
    found = locked()
    for requirement in pinned():
        version, hashes = found[canonicalize_name(requirement.name)]
        assert str(requirement.specifier) == f"=={version}", requirement.name
        assert "sha256" in hashes


def test_whatever_those_packages_need_is_locked_too():
    """The dependencies of what is installed here, to the last, by the packages' own metadata."""
    found, seen = locked(), set()
    waiting = [(canonicalize_name(requirement.name), frozenset(requirement.extras)) for requirement in pinned()]
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        assert name in found, name
        for text in importlib.metadata.requires(name) or []:
            needed = Requirement(text)
            if not needed.marker or any(needed.marker.evaluate({"extra": extra}) for extra in extras or {""}):
                waiting.append((canonicalize_name(needed.name), frozenset(needed.extras)))
    assert len(seen) > 80


# --- what is downloaded --------------------------------------------------------------------------------------


def unpinned_downloads():
    """Downloads that no hash or commit fixes, by name."""
    for name, source in download_datasets.SOURCES.items():
        if source.hub_id and not HEX_40.fullmatch(source.revision or ""):
            yield f"{name}: revision {source.revision}"
        for file, url in source.files.items():
            if not HEX_40.search(url) and not (file == "archive" and source.sha256):
                yield f"{name}: {url}"
    if config.PROFILES["gpu"].train.base_model.count("/"):
        yield f"gpu: {config.PROFILES['gpu'].train.base_model}"


def test_every_download_is_pinned_but_those_that_the_threat_model_names():
    found = list(unpinned_downloads())
    assert [entry.split(": ")[0] for entry in found] == ["docvqa", "gpu"]
    for entry in found:
        assert f"`{entry.split()[-1]}`" in SECURITY, entry


def test_what_is_run_or_loaded_after_a_download_is_fixed_by_its_hash():
    assert importlib.metadata.version("llama-cpp-python") in llama_source.SDIST_SHA256
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in llama_source.SDIST_SHA256.values())
    assert re.fullmatch("[0-9a-f]{64}", base_file.SHA256)
    lines = base_file.MIRROR.read_text().splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]
    assert len(packages) == base_file.PARTS
    assert all(re.fullmatch(r"[\w-]+==[\d.]+ --hash=sha256:[0-9a-f]{64}", line) for line in packages)
