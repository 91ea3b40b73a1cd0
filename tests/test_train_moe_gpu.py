"""Training by Unsloth on a CUDA device, on the tiny model. Skipped where there is none."""

import importlib.util
import os
import signal
import subprocess
import sys
import time

import pytest

import config
from extraction import files, handoff
from extraction.tasks import completions, prompts, schemas
from extraction.training import expert_lora

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.skipif(importlib.util.find_spec("unsloth") is None, reason="Unsloth is not installed"),
]


@pytest.fixture(scope="module")
def project(tmp_path_factory, tiny_moe):
    """Options of a run with attention and expert LoRA on the tiny model; the function takes a name and overrides."""
    root = tmp_path_factory.mktemp("gpu")
    staging = handoff.begin(root / "training")
    for split, count in (("train", 120), ("eval", 8), ("test", 2)):
        rows = []
        for n in range(count):
            record = {"total": f"{n}.{n % 90 + 10}"}
            rows.append(
                {
                    "id": f"made/{split}/{n}",
                    "document": f"made/{split}/{n}",
                    "task": "receipt",
                    "source": "made",
                    "prompt": prompts.messages(schemas.RECEIPT, f"TOTAL {record['total']}"),
                    "completion": [{"role": "assistant", "content": completions.completion(record)}],
                    "target": record,
                }
            )
        files.write_jsonl(staging / f"{split}.jsonl", rows)
    handoff.seal(
        staging,
        stage="prepare_training_data",
        settings={"profile": "gpu", "contract_form": "sentences", "base_model": str(tiny_moe)},
    )

    def options(name, *overrides):
        items = [
            f"train.base_model={tiny_moe}",
            f"data.training_dir={root / 'training'}",
            f"output.dir={root / name}",
            "train.max_seq_length=512",
            "train.lora_targets=attention+experts",
            "train.expert_lora_rank=8",
            "train.batch_size=1",
            "train.gradient_accumulation_steps=1",
            "train.learning_rate=1e-3",
            *overrides,
        ]
        return ["--profile", "gpu", *(part for item in items for part in ("--set", item))]

    return options


def run(arguments, **more):
    command = [sys.executable, "train_moe.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, **more)


def settings_of(arguments):
    return config.read(config.parser(""), arguments)[1]


def losses_of(arguments):
    log = files.read_jsonl(settings_of(arguments).adapter_dir / "training_log.jsonl")
    return {e["step"]: float(e["loss"]) for e in log if "loss" in e}


@pytest.fixture(scope="module")
def whole(project):
    arguments = project("whole", "train.max_steps=8", "train.eval_steps=2")
    done = run(arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return arguments


def test_training_lowers_the_loss_and_notes_memory_and_layout(whole):
    cfg = settings_of(whole)
    result = files.read_json(cfg.adapter_dir / "training_result.json")
    assert result["eval_loss"] < result["base_eval_loss"]
    plan = files.read_json(cfg.adapter_dir / "memory_plan.json")
    assert plan["measured_gib"]["peak"]["allocated"] > 0
    settings = files.read_json(cfg.adapter_dir / "adapter_config.json")
    assert settings["lora_B_layout"] == "rank_major"


def test_an_interrupted_run_goes_on_where_it_stopped(project, whole):
    arguments = project("stopped", "train.max_steps=8", "train.eval_steps=2")
    process = subprocess.Popen([sys.executable, "train_moe.py", *arguments], stdout=subprocess.PIPE, text=True)
    log = settings_of(arguments).checkpoints_dir / "training_log.jsonl"
    limit = time.monotonic() + 300
    while not (log.is_file() and '"step": 3,' in log.read_text()):
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130, said
    done = run([*arguments, "--resume"])
    assert done.returncode == 0, done.stderr[-3000:]
    expected, found = losses_of(whole), losses_of(arguments)
    assert found.keys() == expected.keys()
    assert [found[n] for n in sorted(found)] == pytest.approx([expected[n] for n in sorted(expected)], rel=2e-2)


def test_training_in_4_bit_continues_from_an_adapter(project, whole):
    first = settings_of(whole).adapter_dir
    arguments = project("next", f"train.init_adapter={first}", "train.max_steps=2", "train.eval_steps=2")
    done = run(arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    before, after = (
        [entry["eval_loss"] for entry in files.read_jsonl(folder / "training_log.jsonl") if "eval_loss" in entry]
        for folder in (first, settings_of(arguments).adapter_dir)
    )
    assert after[1] == pytest.approx(min(before[1:]), rel=2e-2)  # of step 0, behind the base model's


def test_lora_on_some_experts_moves_their_factors_and_no_others(project):
    from safetensors.torch import load_file

    arguments = project("half", "train.experts_share=0.5", "train.max_steps=8", "train.eval_steps=8")
    done = run(arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    folder = settings_of(arguments).adapter_dir
    chosen = files.read_json(folder / "adapter_config.json")[expert_lora.NOTE]
    result = files.read_json(folder / "training_result.json")
    assert result["eval_loss"] < result["base_eval_loss"]
    looked_at = 0
    for name, tensor in load_file(folder / "adapter_model.safetensors").items():
        if (match := expert_lora.STACKED.search(name)) and match[2] == "B":
            experts = 2 * len(chosen[int(match[1])])
            by_expert = tensor.reshape(tensor.shape[0], -1, experts).abs().amax(dim=(0, 1))
            assert by_expert.nonzero().flatten().tolist() == chosen[int(match[1])], name
            looked_at += 1
    assert looked_at == 2 * len(chosen)


def test_what_does_not_fit_is_refused_before_loading(project):
    done = run(project("small", "train.batch_size=1000000"))
    assert done.returncode == 2
    assert "of the card can be used. These fit: --set train.batch_size=" in done.stderr


def test_plain_peft_on_a_cpu_computes_what_unsloth_computed(whole, tiny_moe, tmp_path):
    """With the base weights as 4 bit makes them, base and adapter give the same logits to bfloat16 rounding."""
    code = """
import sys, config
from extraction.training import adapter, unsloth_model
cfg = config.read(config.parser(""), sys.argv[3:])[1]
model = unsloth_model.load(cfg.train, 0, cfg.cache_dir)
import bitsandbytes, torch
from safetensors.torch import save_file
adapter.restore(model, cfg.adapter_dir)
ids = torch.arange(5, 69)[None].cuda()
model.eval()
with torch.no_grad():
    hidden = model(input_ids=ids, logits_to_keep=0)
weights = {}
for name, p in model.get_base_model().named_parameters():
    if "lora_" in name:
        continue
    state = getattr(p, "quant_state", None)
    p = p if state is None else bitsandbytes.functional.dequantize_4bit(p.data, state)
    weights[name.replace(".base_layer", "")] = p.detach().to("cpu", torch.bfloat16).contiguous()
save_file({"logits": hidden.logits.float().cpu()}, sys.argv[1])
save_file(weights, sys.argv[2])
"""
    logits, weights = tmp_path / "logits.safetensors", tmp_path / "weights.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", code, str(logits), str(weights), *whole],
        capture_output=True,
        text=True,
        env=os.environ | {"UNSLOTH_RETURN_LOGITS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    given = load_file(weights)
    ids = torch.arange(5, 69)[None]

    def computed(dtype):
        """Logits on the CPU without and with the adapter."""
        base = AutoModelForCausalLM.from_pretrained(tiny_moe, dtype=dtype).eval()
        shaped = {name: given[name].reshape(p.shape).to(dtype) for name, p in base.named_parameters()}
        base.load_state_dict(shaped, strict=False)
        with torch.no_grad():
            alone = base(ids).logits.float()
            return alone, PeftModel.from_pretrained(base, settings_of(whole).adapter_dir).eval()(ids).logits.float()

    def distance(one, other):
        """Its median over tokens: two experts nearly equally good, and rounding chooses another one for a token."""
        return ((one - other).norm(dim=-1)[0] / other.norm(dim=-1)[0]).median().item()

    alone, exact = computed(torch.float32)
    rounded = computed(torch.bfloat16)[1]
    wrong, rounding = (distance(found, exact) for found in (load_file(logits)["logits"], rounded))
    moved = distance(exact, alone)
    figures = f"Unsloth is off by {wrong}, bfloat16 on the CPU by {rounding}, the adapter moves by {moved}"
    assert wrong < 1.5 * rounding, figures
    assert wrong < 0.2 * moved, figures
