import copy
import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import gguf
import pytest

import config
import export_gguf
from extraction import files, handoff
from extraction.export import gguf_build, llama_source
from extraction.models import base_model, choice, lora
from extraction.tasks import completions, prompts, schemas
from tests.helpers import tiny_moe as builder

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]


def options(base, output, *overrides):
    values = [f"train.base_model={base}", f"output.dir={output}", *overrides]
    return [argument for value in values for argument in ("--set", value)]


def settings_of(arguments):
    return config.read(config.parser(""), arguments)[1]


def random_adapter(base, **more):
    """A PEFT model on the base, in float32, whose adapter has random weights in every factor."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base_model.quiet()
    arguments = {"r": 4, "lora_alpha": 8, "target_modules": ATTENTION, "target_parameters": EXPERTS, **more}
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(**arguments, task_type="CAUSAL_LM"))
    draw = torch.Generator().manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.copy_(torch.randn(weight.shape, generator=draw) * 0.02)
    return model


def save_sealed(model, folder):
    """Save an adapter as stage 3 would leave it."""
    staging = handoff.begin(folder)
    model.save_pretrained(staging)
    return handoff.seal(staging, stage="train_moe", settings={})


def reseal(folder):
    staging = handoff.begin(folder)
    for path in folder.iterdir():
        if path.name != handoff.MANIFEST:
            (staging / path.name).write_bytes(path.read_bytes())
    handoff.seal(staging, stage="train_moe", settings={})


@pytest.fixture(scope="module")
def adapter(tmp_path_factory, tiny_moe):
    folder = tmp_path_factory.mktemp("adapter") / "lora_adapters"
    save_sealed(random_adapter(tiny_moe), folder)
    return folder


@pytest.fixture(scope="module")
def tiny_mixtral(tmp_path_factory):
    """A tiny checkpoint of the cpu profile's architecture."""
    import torch
    from transformers import MixtralConfig, MixtralForCausalLM

    folder = tmp_path_factory.mktemp("tiny_mixtral")
    tokens = builder.tokenizer()
    tokens.chat_template = prompts.chat_template("mixtral")
    sizes = {"vocab_size": builder.VOCABULARY, "intermediate_size": 320, "num_hidden_layers": 2, "sliding_window": None}
    sizes |= {"num_local_experts": 4, "num_experts_per_tok": 2, "tie_word_embeddings": True}
    model = builder.drawn(MixtralForCausalLM, builder.shape(MixtralConfig, tokens, **sizes))
    model.to(torch.bfloat16).save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


# --- the whole stage -----------------------------------------------------------------------------------------


def test_base_and_adapter_become_gguf_files_that_compute_and_answer_the_same(tiny_moe, tmp_path, capsys):
    arguments = options(tiny_moe, tmp_path, "export.quantization=F32,Q8_0,Q4_K_M")
    cfg = settings_of(arguments)
    save_sealed(random_adapter(tiny_moe, rank_pattern={"q_proj": 2}, alpha_pattern={"o_proj": 3}), cfg.adapter_dir)
    assert export_gguf.main(arguments) == 0
    said = capsys.readouterr().out
    assert "[6/7]" in said and "doc-intel-Q4_K_M.gguf" in said
    assert "Next: python inference.py data/samples/documents/receipt_photo_1.jpg" in said

    manifest = handoff.require(cfg.gguf_dir, made_by="export")
    names = {"doc-intel-F32.gguf", "doc-intel-Q8_0.gguf", "doc-intel-Q4_K_M.gguf", "Modelfile", "verification.json"}
    assert set(manifest["files"]) == names
    assert manifest["inputs"]["adapter"] == handoff.manifest_of(cfg.adapter_dir)["fingerprint"]
    sizes = [manifest["files"][cfg.gguf_file(kind).name]["size"] for kind in ("F32", "Q8_0", "Q4_K_M")]
    assert sizes == sorted(sizes, reverse=True)
    found = files.read_json(cfg.gguf_dir / "verification.json")
    assert found["logits"]["max_difference"] < 1e-3
    assert found["logits"]["same_next_token"] == found["logits"]["tokens"] > 50
    assert found["adapter"] == {"changed_tensors": 4 * (4 + 3 * 8), "untrained_tensors": 0}
    assert all(
        completions.parse(schemas.RECEIPT, entry["answer"]).record is not None for entry in found["files"].values()
    )
    assert "FROM ./doc-intel-F32.gguf\n" in (cfg.gguf_dir / "Modelfile").read_text()

    gguf_build.quantize(cfg.gguf_file("F32"), tmp_path / "small.gguf", "IQ4_NL")
    types = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(tmp_path / "small.gguf").tensors}
    assert types["blk.0.attn_q.weight"] == "Q8_0"  # what every token passes through keeps more bits
    assert {types[name] for name in ("blk.0.ffn_gate_exps.weight", "token_embd.weight", "output.weight")} == {"IQ4_NL"}

    before = cfg.gguf_file("Q8_0").stat().st_mtime_ns
    # rows that only --verify reads are no reason to build again
    assert export_gguf.main([*arguments, "--set", "export.verify_rows=3"]) == 0
    assert "already there" in capsys.readouterr().out
    assert cfg.gguf_file("Q8_0").stat().st_mtime_ns == before
    assert export_gguf.main(["--merged", *arguments]) == 0  # although a GGUF build is current
    assert "merged checkpoint in" in capsys.readouterr().out
    assert (cfg.merged_dir / "model.safetensors").stat().st_mode & 0o777 == 0o644  # a server may be another user

    ids = list(range(40, 80))  # the comparison must also notice an adapter that is missing
    without_adapter = export_gguf.reference_logits(gguf_build.read_base(tiny_moe), None, ids)
    with pytest.raises(files.StageError, match="logits of the GGUF build and those"):
        export_gguf.compare_logits(cfg.gguf_file("F32"), ids, without_adapter)

    backend = choice.choose(cfg, str(cfg.gguf_file("Q8_0"))).open()  # the file as stage 5 uses it
    assert "</think>" in backend.render(export_gguf.sample_messages())


def test_a_mixtral_is_merged_too_and_an_adapter_with_rslora(tiny_mixtral, tmp_path):
    arguments = options(tiny_mixtral, tmp_path, "export.quantization=Q8_0")
    cfg = settings_of(arguments)
    save_sealed(random_adapter(tiny_mixtral, use_rslora=True), cfg.adapter_dir)
    assert export_gguf.main(arguments) == 0
    found = files.read_json(cfg.gguf_dir / "verification.json")
    assert found["logits"]["max_difference"] < 1e-3
    assert found["adapter"]["changed_tensors"] == 2 * (4 + 3 * 4)
    assert "think" not in (cfg.gguf_dir / "Modelfile").read_text()


def test_a_large_base_model_alone_goes_through_16_bits_and_says_that_logits_were_not_compared(
    tiny_moe, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(gguf_build, "SMALL_MODEL", 0)
    arguments = options(tiny_moe, tmp_path, "export.quantization=Q4_K_M")
    assert export_gguf.main([*arguments, "--base-only"]) == 0
    folder = settings_of(arguments).base_gguf_dir
    assert (folder / "doc-intel-base-Q4_K_M.gguf").is_file()
    assert "FROM ./doc-intel-base-Q4_K_M.gguf\n" in (folder / "Modelfile").read_text()
    found = files.read_json(folder / "verification.json")
    assert found["logits"] is None and "not compared" in found["logits_reason"]
    assert found["adapter"] is None
    said = capsys.readouterr().out
    assert "not compared" in said and "Next: python test_moe.py --model" in said
    assert set(handoff.manifest_of(folder)["inputs"]) == {"base"}


# --- what is refused -----------------------------------------------------------------------------------------


def test_a_merged_checkpoint_computes_what_base_and_adapter_compute(tiny_moe, tmp_path, capsys):
    import torch
    from transformers import AutoModelForCausalLM

    arguments = options(tiny_moe, tmp_path)
    cfg = settings_of(arguments)
    model = random_adapter(tiny_moe)
    save_sealed(model, cfg.adapter_dir)
    assert export_gguf.main(["--merged", *arguments]) == 0
    folder = cfg.merged_dir
    handoff.require(folder, made_by="export")
    assert "weights changed by the adapter" in capsys.readouterr().out
    base = AutoModelForCausalLM.from_pretrained(tiny_moe, dtype=torch.float32).state_dict()
    merged = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()
    expected = model.merge_and_unload().state_dict()
    assert merged.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(merged[name], weight, rtol=2**-8, atol=1e-6)  # bfloat16 keeps eight bits
    changed = [name for name in base if not torch.equal(base[name], merged[name])]
    assert len(changed) == 4 * (4 + 2)
    tokenizer = base_model.tokenizer(str(folder), folder)
    assert tokenizer.chat_template == prompts.chat_template("qwen3_moe")


def test_a_missing_adapter_is_one_sentence_with_the_command_and_status_2(tiny_moe, tmp_path):
    command = [sys.executable, "export_gguf.py", *options(tiny_moe, tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "Run: python train_moe.py" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_missing_base_model_names_the_stage_that_builds_it(tmp_path):
    with pytest.raises(files.StageError, match="base_model is not there yet. Run: python train_moe.py"):
        export_gguf.main(["--set", f"output.dir={tmp_path}"])


def test_a_base_model_that_the_hub_does_not_give_is_one_sentence(tmp_path, monkeypatch):
    import huggingface_hub

    def offline(*_, **__):
        raise huggingface_hub.errors.LocalEntryNotFoundError("no connection\nmore about it")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(files.StageError, match="^the base model a/b could not be downloaded: no connection$"):
        export_gguf.main(options("a/b", tmp_path))


def test_a_base_model_from_the_hub_is_recorded_with_its_revision(tiny_moe, tmp_path, monkeypatch):
    import huggingface_hub

    snapshot = tmp_path / "5c0ffee"
    snapshot.symlink_to(tiny_moe)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda name, file: str(tiny_moe / file))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, allow_patterns: str(snapshot))
    base = export_gguf.find_base(settings_of(options("a/b", tmp_path)), None)
    assert base.manifest["fingerprint"] == "a/b@5c0ffee"
    assert base.model_type == "qwen3_moe"
    assert base.parameters == sum(shape[0] * (shape[1] if shape[1:] else 1) for shape in base.shapes.values())


def test_a_quantized_base_model_is_refused(tiny_moe, tmp_path):
    quantized = tmp_path / "base"
    quantized.mkdir()
    found = files.read_json(tiny_moe / "config.json") | {"quantization_config": {"quant_method": "bitsandbytes"}}
    files.write_json(quantized / "config.json", found)
    with pytest.raises(files.StageError, match=r"quantized checkpoint \(bitsandbytes\).*16-bit"):
        export_gguf.main(options(quantized, tmp_path))


def test_an_adapter_of_another_model_is_refused_and_nothing_stays_behind(tiny_moe, tmp_path, adapter):
    from safetensors.torch import load_file, save_file

    cfg = settings_of(options(tiny_moe, tmp_path))
    tensors = load_file(adapter / "adapter_model.safetensors")
    tensors = {name.replace("layers.3.", "layers.9."): tensor for name, tensor in tensors.items()}
    cfg.adapter_dir.mkdir(parents=True)
    save_file(tensors, cfg.adapter_dir / "adapter_model.safetensors")
    (cfg.adapter_dir / "adapter_config.json").write_bytes((adapter / "adapter_config.json").read_bytes())
    reseal(cfg.adapter_dir)
    with pytest.raises(files.StageError, match="6 modules of the adapter are not in the base model"):
        export_gguf.main(options(tiny_moe, tmp_path))
    assert [path.name for path in cfg.output_dir.iterdir()] == ["lora_adapters"]


def test_an_adapter_of_another_shape_is_refused(tiny_moe, adapter):
    settings = files.read_json(tiny_moe / "config.json")
    base = gguf_build.read_base(tiny_moe)
    shapes = base.shapes | {"model.layers.0.self_attn.q_proj.weight": (256, 128)}
    with pytest.raises(files.StageError, match="q_proj"):
        lora.touched(lora.read_adapter(adapter, settings), shapes)
    with pytest.raises(files.StageError, match="does not fit 8 experts of 300 by 256"):
        lora.read_adapter(adapter, settings | {"moe_intermediate_size": 300})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "bias"),
        ({"peft_type": "LOHA"}, "LOHA"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa"),
        ({"peft_version": "0.18.1"}, "0.18.1"),
        ({"auto_mapping": {"unsloth_fixed": True}}, "Unsloth"),
        ({"lora_B_layout": "grouped_by_expert"}, "older version of Unsloth .*grouped_by_expert"),
    ],
)
def test_an_adapter_that_is_more_than_plain_lora_is_refused(tiny_moe, tmp_path, adapter, change, named):
    for path in adapter.iterdir():
        (tmp_path / path.name).symlink_to(path)
    found = files.read_json(adapter / "adapter_config.json") | change
    (tmp_path / "adapter_config.json").unlink()
    files.write_json(tmp_path / "adapter_config.json", found)
    with pytest.raises(files.StageError, match=named):
        lora.read_adapter(tmp_path, files.read_json(tiny_moe / "config.json"))


def test_too_little_disk_space_is_found_out_before_anything_is_written(tiny_moe, tmp_path, adapter, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10_000_000))
    with pytest.raises(files.StageError, match="GB are needed"):
        export_gguf.main([*options(tiny_moe, tmp_path), "--adapter", str(adapter)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, files.StageError("the disk is full")])
def test_a_run_that_breaks_off_leaves_the_old_build_and_no_parts(tiny_moe, tmp_path, adapter, monkeypatch, error):
    def broken(source, target, kind, imatrix):
        target.write_bytes(b"GGUF")
        raise error

    def converted(converter, checkpoint, folder, kind, outfile, work):
        outfile.write_bytes(b"GGUF")
        names = lora.touched(lora.read_adapter(folder, base.config), base.shapes)
        return {"changed": names, "untrained": []}

    base = gguf_build.read_base(tiny_moe)
    monkeypatch.setattr(gguf_build, "SMALL_MODEL", 0)
    monkeypatch.setattr(gguf_build, "convert", converted)
    monkeypatch.setattr(gguf_build, "quantize", broken)
    arguments = [*options(tiny_moe, tmp_path), "--adapter", str(adapter)]
    folder = settings_of(arguments[:4]).gguf_dir
    for old in (False, True):
        if old:
            staging = handoff.begin(folder)
            files.write_text(staging / "doc-intel-Q8_0.gguf", "old")
            handoff.seal(staging, stage="export_gguf", settings={})
        with pytest.raises((KeyboardInterrupt, files.StageError)):
            export_gguf.main(arguments)
        assert [path.name for path in folder.parent.iterdir()] == (["gguf"] if old else [])
    assert (folder / "doc-intel-Q8_0.gguf").read_text() == "old"


# --- the converter -------------------------------------------------------------------------------------------


def test_a_source_package_that_is_not_the_published_one_is_refused(tmp_path, monkeypatch):
    def fake(version, folder):
        (folder / "llama_cpp_python-0.3.36.tar.gz").write_bytes(b"something else")
        return folder / "llama_cpp_python-0.3.36.tar.gz"

    monkeypatch.setattr(llama_source, "download_sdist", fake)
    with pytest.raises(files.StageError, match="is not the published file"):
        llama_source.converter(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_a_connection_the_way_around_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(llama_source, "download_sdist", lambda version, folder: None)
    with pytest.raises(files.StageError, match="--llama-cpp DIR"):
        llama_source.converter(tmp_path / "cache")
    monkeypatch.setattr(llama_source, "SDIST_SHA256", {})
    with pytest.raises(files.StageError, match="are unknown"):
        llama_source.converter(tmp_path / "cache")


def test_only_a_tokenizer_that_splits_like_qwen2_is_taken_for_one(tiny_moe):
    found = files.read_json(tiny_moe / "tokenizer.json")
    assert gguf_build.splits_like_qwen2(found)
    other = copy.deepcopy(found)
    other["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = builder.QWEN2_PATTERN.replace(
        r"\p{N}|", r"\p{N}+|"
    )
    assert not gguf_build.splits_like_qwen2(other)
    assert not gguf_build.splits_like_qwen2({"pre_tokenizer": {"type": "ByteLevel"}})


# --- the merge, weight by weight -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"target_parameters": None},
        {"target_modules": ["q_proj"], "target_parameters": ["mlp.experts.down_proj"]},
        {"use_rslora": True},
        {"rank_pattern": {"experts.down_proj": 2}, "alpha_pattern": {"experts.gate_up_proj": 5, "q_proj": 1}},
    ],
    ids=["all", "attention", "down", "rslora", "patterns"],
)
@pytest.mark.parametrize("checkpoint", ["tiny_moe", "tiny_mixtral"])
def test_every_weight_is_the_one_that_peft_merges(request, tmp_path, checkpoint, settings):
    """Against merge_and_unload, by the names and in the layout that transformers saves."""
    from safetensors.torch import load_file

    base = request.getfixturevalue(checkpoint)
    model = random_adapter(base, **settings)
    model.save_pretrained(tmp_path / "adapter")
    model.merge_and_unload().save_pretrained(tmp_path / "merged")
    before, after = (load_file(folder / "model.safetensors") for folder in (base, tmp_path / "merged"))
    adapter = lora.read_adapter(tmp_path / "adapter", files.read_json(base / "config.json"))
    names = lora.touched(adapter, {name: tuple(tensor.shape) for name, tensor in before.items()})
    changed = [name for name in before if not before[name].float().equal(after[name])]
    assert sorted(names) == sorted(changed)
    for name in names:
        ours = before[name].float() + lora.factors_for(adapter, name).delta()
        assert (ours - after[name]).abs().max() < 1e-6


def test_a_checkpoint_with_stacked_experts_gets_the_same_weights(tiny_moe, adapter):
    import torch

    read = lora.read_adapter(adapter, files.read_json(tiny_moe / "config.json"))
    layer = "model.layers.2.mlp.experts"

    def delta(name):
        return lora.factors_for(read, f"{layer}.{name}").delta()

    gate, up = (torch.stack([delta(f"{e}.{part}_proj.weight") for e in range(8)]) for part in ("gate", "up"))
    assert torch.allclose(delta("gate_up_proj"), torch.cat([gate, up], dim=1), atol=1e-7)
    down = torch.stack([delta(f"{e}.down_proj.weight") for e in range(8)])
    assert torch.allclose(delta("down_proj"), down, atol=1e-7)
    assert lora.factors_for(read, "model.layers.2.mlp.gate.weight") is None


def reader(weights):
    """A stand-in for the converter's module: its base class gives out tensors by name."""
    model = type("ModelBase", (), {"get_tensors": lambda self: iter(weights.items())})
    return SimpleNamespace(ModelBase=model, LazyTorchTensor=type("Lazy", (), {}))


def merged(weights, factors):
    report = {"changed": [], "untrained": []}
    conversion = reader(weights)
    adapter = lora.Adapter({f.module: f for f in factors}, {})
    gguf_build.merge_while_reading(conversion, adapter, report)
    return dict(conversion.ModelBase().get_tensors()), report


def test_an_expert_without_training_tokens_stays_and_an_adapter_of_zeros_is_refused():
    import torch

    weights = {"a.weight": torch.ones(2, 3), "b.weight": torch.ones(2, 3), "c.weight": torch.ones(2)}
    trained = lora.Factors("a", torch.ones(1, 3), torch.ones(2, 1), 0.5)
    idle = lora.Factors("b", torch.ones(1, 3), torch.zeros(2, 1), 0.5)
    result, report = merged(weights, [trained, idle])
    assert result["a.weight"].equal(torch.full((2, 3), 1.5))
    assert result["b.weight"].equal(torch.ones(2, 3))
    assert result["c.weight"] is weights["c.weight"]
    assert report == {"changed": ["a.weight"], "untrained": ["b.weight"]}
    counted = lora.check_report(report, ["a.weight", "b.weight"])
    assert counted == {"changed_tensors": 1, "untrained_tensors": 1}
    with pytest.raises(files.StageError, match="2 weights should have been merged"):
        lora.check_report({"changed": ["a.weight"], "untrained": []}, ["a.weight", "b.weight"])
    with pytest.raises(files.StageError, match="changes nothing"):
        lora.check_report({"changed": [], "untrained": ["b.weight"]}, ["b.weight"])


def test_a_merge_that_is_not_finite_or_is_lost_in_rounding_fails():
    import torch

    weights = {"a.weight": torch.ones(2, 3)}
    for b, problem in ((float("inf"), "not finite"), (1e-30, "as it was")):
        with pytest.raises(ValueError, match=problem):
            merged(weights, [lora.Factors("a", torch.ones(1, 3), torch.full((2, 1), b), 1.0)])


def test_the_checkpoint_is_staged_with_our_template_and_none_of_its_own(tiny_moe, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for path in tiny_moe.iterdir():
        (source / path.name).symlink_to(path)
    (source / "tokenizer_config.json").unlink()
    found = files.read_json(tiny_moe / "tokenizer_config.json")
    files.write_json(source / "tokenizer_config.json", found | {"chat_template": "{{ '<think></think>' }}"})
    files.write_json(source / "chat_template.json", {"chat_template": "another"})
    staged = gguf_build.stage_checkpoint(gguf_build.read_base(source), tmp_path / "staged")
    assert (staged / "chat_template.jinja").read_text() == prompts.chat_template("qwen3_moe")
    assert "chat_template" not in files.read_json(staged / "tokenizer_config.json")
    assert not (staged / "chat_template.json").exists()
    assert json.loads((staged / "config.json").read_text()) == files.read_json(tiny_moe / "config.json")


def test_experts_merged_side_by_side_and_rounded_in_torch_are_the_same_file(tiny_moe, adapter, tmp_path, monkeypatch):
    converter = llama_source.converter(config.PROFILES["cpu"].cache_dir)
    paths, running = [], []
    for name in ("fast", "plain"):
        work = tmp_path / name
        work.mkdir()
        checkpoint = gguf_build.stage_checkpoint(gguf_build.read_base(tiny_moe), work / "checkpoint")
        paths.append(work / "build.gguf")
        job = {"converter": str(converter), "checkpoint": str(checkpoint), "adapter": str(adapter), "type": "BF16"}
        job |= {"outfile": str(paths[-1]), "report": str(work / "report.json")}
        files.write_json(work / "job.json", job)
        program = "from extraction.export import gguf_build; "
        program += "gguf_build.use_all_cores = lambda: None; " if name == "plain" else ""
        program += "gguf_build.main()"
        command = [sys.executable, "-c", program, str(work / "job.json")]
        running.append(subprocess.Popen(command, cwd=config.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    assert [process.wait(timeout=300) for process in running] == [0, 0]
    assert paths[0].read_bytes() == paths[1].read_bytes()
