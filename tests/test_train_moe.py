import json
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

import config
import train_moe
from extraction import files, handoff
from extraction.models import base_model, lora
from extraction.models.rows import encode_row
from extraction.tasks import completions, prompts, schemas
from extraction.training import adapter, checkpoints, distilled, log

SETTINGS = ["train.init_adapter=null", "train.max_seq_length=256", "train.gradient_accumulation_steps=1"]


def row(number, task=schemas.RECEIPT):
    text = f"Tea {number}  2.0{number % 10}\nTOTAL  2.0{number % 10}"
    record = {
        "line_items": [{"description": f"Tea {number}", "amount": f"2.0{number % 10}"}],
        "total": f"2.0{number % 10}",
    }
    return {
        "id": f"made/{number}",
        "document": f"made/{number}",
        "task": task.name,
        "source": "made",
        "prompt": prompts.messages(task, text),
        "completion": [{"role": "assistant", "content": completions.completion(record)}],
        "target": record,
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory, tiny_moe):
    """A folder with training rows for the tiny model, and the options that point every stage at it."""
    root = tmp_path_factory.mktemp("project")
    staging = handoff.begin(root / "training")
    for split, numbers in (("train", range(40)), ("eval", range(40, 48)), ("test", range(48, 56))):
        files.write_jsonl(staging / f"{split}.jsonl", [row(n) for n in numbers])
    handoff.seal(
        staging,
        stage="prepare_training_data",
        settings={"profile": "cpu", "contract_form": "sentences", "base_model": str(tiny_moe)},
    )
    overrides = [*SETTINGS, f"train.base_model={tiny_moe}", f"data.training_dir={root / 'training'}"]
    return root, [argument for item in overrides for argument in ("--set", item)]


def options(project, output, *overrides):
    root, common = project
    extra = [f"output.dir={root / output}", *overrides]
    return [*common, *(argument for item in extra for argument in ("--set", item))]


def settings_of(arguments):
    return config.read(config.parser(""), arguments)[1]


def test_training_lowers_the_loss_and_leaves_a_sealed_adapter(project, capsys):
    arguments = options(project, "first", "train.max_steps=8", "train.eval_steps=4", "train.learning_rate=2e-3")
    assert train_moe.main(arguments) == 0
    cfg = settings_of(arguments)
    manifest = handoff.require(cfg.adapter_dir, made_by="train")
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "loss.png"} <= set(manifest["files"])
    found = files.read_json(cfg.adapter_dir / "adapter_config.json")
    assert found["target_modules"] == sorted(adapter.ATTENTION)  # not in an order that changes with the process
    assert found["target_parameters"] == sorted(adapter.EXPERTS)
    entries = list(files.read_jsonl(cfg.adapter_dir / "training_log.jsonl"))
    assert [e["step"] for e in entries if "loss" in e] == list(range(1, 9))
    assert all(e["tokens_per_second"] > 0 and e["aux_loss"] > 0 for e in entries if "loss" in e)
    result = files.read_json(cfg.adapter_dir / "training_result.json")
    assert result["eval_loss"] < result["base_eval_loss"]
    evals = {e["step"]: e["eval_loss"] for e in entries if "eval_loss" in e and e.get("model") != "base"}
    assert result["best_step"] == min(evals, key=evals.get)
    assert not cfg.checkpoints_dir.exists()
    capsys.readouterr()
    assert train_moe.main(arguments) == 0
    assert "already there" in capsys.readouterr().out


def test_the_adapter_changes_attention_and_every_expert_stack(project):
    from safetensors.torch import load_file

    cfg = settings_of(options(project, "first"))
    if not (cfg.adapter_dir / "adapter_model.safetensors").is_file():
        pytest.fail("the test before this one makes the adapter")
    tensors = load_file(cfg.adapter_dir / "adapter_model.safetensors")
    layers = 4
    assert sum(".self_attn." in name and "lora_B" in name for name in tensors) == 4 * layers
    assert sum(".mlp.experts" in name and "lora_B" in name for name in tensors) == 2 * layers
    assert all(t.abs().max() > 0 for name, t in tensors.items() if "lora_B" in name)


@pytest.mark.parametrize(("has", "dtype"), [(True, "torch.bfloat16"), (False, "torch.float32")])
def test_a_cpu_without_instructions_for_bfloat16_trains_in_float32(project, monkeypatch, has, dtype):
    import torch

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False, "amx_bf16": has})
    assert str(train_moe.load_model(settings_of(options(project, "dtype"))).dtype) == dtype


def test_rows_of_one_pack_do_not_see_each_other(tiny_moe):
    """The logits of two rows flattened into one sequence are those of each row alone."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_moe, dtype=torch.float32).eval()
    first, second = torch.arange(5, 45)[None], torch.arange(100, 160)[None]
    positions = torch.cat([torch.arange(40), torch.arange(60)])[None]
    with torch.no_grad():
        packed = model(torch.cat([first, second], 1), position_ids=positions, use_cache=False).logits
        apart = torch.cat([model(first).logits, model(second).logits], 1)
    assert (packed - apart).abs().max() < 1e-4


def test_only_the_completion_is_learned(tiny_moe, project):
    tokenizer = base_model.tokenizer(str(tiny_moe), tiny_moe)
    rows = train_moe.load_rows(project[0] / "training" / "train.jsonl", tokenizer, 512)
    for encoded, original in zip(rows, files.read_jsonl(project[0] / "training" / "train.jsonl"), strict=True):
        learned = [t for t, m in zip(encoded["input_ids"], encoded["completion_mask"], strict=True) if m]
        assert tokenizer.decode(learned) == original["completion"][0]["content"] + "<|im_end|>"
        prompt = tokenizer.decode(
            [t for t, m in zip(encoded["input_ids"], encoded["completion_mask"], strict=True) if not m]
        )
        assert prompt.endswith("</think>\n\n")


@pytest.mark.parametrize("share", ["1", "0.25"])
def test_ctrl_c_saves_and_resume_ends_where_an_undisturbed_run_does(project, share):
    """Losses after the interruption equal those of a run that was never interrupted."""
    steps = ["train.max_steps=6", "train.eval_steps=2", "train.learning_rate=1e-3", f"train.experts_share={share}"]
    whole = options(project, f"whole {share}", *steps)
    assert train_moe.main(whole) == 0
    arguments = options(project, f"stopped {share}", *steps)
    process = subprocess.Popen([sys.executable, "train_moe.py", *arguments], stdout=subprocess.PIPE, text=True)
    log = settings_of(arguments).checkpoints_dir / "training_log.jsonl"
    wait_for(lambda: log.is_file() and '"step": 1,' in log.read_text(), process)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Continue with: python train_moe.py --resume" in said
    assert not settings_of(arguments).adapter_dir.exists()
    assert train_moe.main([*arguments, "--resume"]) == 0
    losses = [
        {
            e["step"]: e["loss"]
            for e in files.read_jsonl(settings_of(a).adapter_dir / "training_log.jsonl")
            if "loss" in e
        }
        for a in (whole, arguments)
    ]
    assert losses[0].keys() == losses[1].keys()
    assert all(float(losses[0][n]) == pytest.approx(float(losses[1][n]), rel=1e-4) for n in losses[0])


@pytest.mark.parametrize("packing", ["true", "false"])
def test_two_processes_train_as_one_does(project, packing):
    """The same steps: losses of two processes with half the accumulation each equal those of one."""
    steps = [
        f"train.packing={packing}",
        "train.max_steps=3",
        "train.eval_rows=8",  # an even number of sequences: two processes repeat one to share an odd number
        "train.eval_steps=3",
        "train.learning_rate=1e-3",
        "train.gradient_accumulation_steps=4",
    ]
    alone, shared = (options(project, name + packing, *steps) for name in ("alone", "shared"))
    assert train_moe.main(alone) == 0
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "train_moe.py"]
    done = subprocess.run(
        [*command, *shared], capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("[3/7] adapter of step") == 1
    logs = [list(files.read_jsonl(settings_of(a).adapter_dir / "training_log.jsonl")) for a in (alone, shared)]
    # The eval loss after the third step has differed by 0.0011: Adam makes whole steps of the routers' tiny gradients
    for name, rel in (("loss", 1e-3), ("eval_loss", 3e-3)):
        expected, found = ([float(e[name]) for e in log if name in e] for log in logs)
        assert found == pytest.approx(expected, rel=rel)
    assert [e["tokens"] for e in logs[0] if "loss" in e] == [e["tokens"] for e in logs[1] if "loss" in e]


def test_the_least_number_of_steps_counts_the_batches_that_there_are():
    """Two rows of 600 tokens are no batch of 1,024."""
    train = config.TrainConfig(packing=False, gradient_accumulation_steps=1, max_seq_length=1024, min_steps=30)
    assert train_moe.epochs_of(train, {"input_ids": [[0] * 600] * 10}) == 3
    assert train_moe.epochs_of(train, {"input_ids": [[0] * 600] * 60}) == 1


def test_steps_that_processes_cannot_share_evenly_are_refused(monkeypatch):
    monkeypatch.setattr(train_moe, "processes_of", lambda train: SimpleNamespace(num_processes=3))
    with pytest.raises(files.StageError, match="cannot be shared evenly by 3 processes"):
        train_moe.accumulation_steps(config.PROFILES["gpu"].train)


def test_a_limit_of_tokens_takes_from_each_task_in_turn(tiny_moe, tmp_path):
    tokenizer = base_model.tokenizer(str(tiny_moe), tiny_moe)
    rows = [row(n) for n in range(30)] + [row(n, schemas.DOCUMENT) for n in range(30, 34)]
    path = files.write_jsonl(tmp_path / "rows.jsonl", rows)
    whole = train_moe.load_rows(path, tokenizer, 512)
    total = sum(map(len, whole["input_ids"]))
    some = train_moe.load_rows(path, tokenizer, 512, tokens=total / 3)
    used = sum(map(len, some["input_ids"]))
    assert total / 3 - max(map(len, whole["input_ids"])) < used <= total / 3
    documents = [ids for ids in whole["input_ids"][30:] if ids in some["input_ids"]]
    assert len(documents) == 4


def test_rows_whose_answers_would_be_cut_are_refused(project, capsys):
    """Rows that were prepared for a longer model; the test's have up to 200 tokens."""
    with pytest.raises(files.StageError, match=r"40 rows of more than train.max_seq_length=64 tokens, up to \d+"):
        train_moe.main(options(project, "cut", "train.max_seq_length=64"))


def test_a_saved_adapter_is_put_into_a_model_whole_or_refused(project):
    first = settings_of(options(project, "first")).adapter_dir
    model = train_moe.load_model(settings_of(options(project, "restored")))
    adapter.restore(model, first)
    again = train_moe.load_model(settings_of(options(project, "restored", f"train.init_adapter={first}")))
    weights, expected = (dict(m.named_parameters()) for m in (model, again))
    assert all((weights[name] == expected[name]).all() for name in weights if "lora_" in name)
    smaller = train_moe.load_model(settings_of(options(project, "restored", "train.lora_targets=attention")))
    with pytest.raises(files.StageError, match="does not fit this model"):
        adapter.restore(smaller, first)


def test_the_adapter_kept_is_the_weighted_mean_of_what_was_learned_and_the_start(project):
    import torch
    from safetensors.torch import load_file

    first = settings_of(options(project, "first")).adapter_dir
    saved = {}
    for weight in (0.0, 0.75):
        more = [f"train.init_adapter={first}", f"train.start_weight={weight}", "train.learning_rate=2e-3"]
        arguments = options(project, f"mean{weight}", *more, "train.max_steps=4", "train.eval_steps=4")
        assert train_moe.main(arguments) == 0
        folder = settings_of(arguments).adapter_dir
        saved[weight] = load_file(folder / "adapter_model.safetensors")
        result = files.read_json(folder / "training_result.json")
        assert result["best_step"] == 4
        logged = log.eval_losses(files.read_jsonl(folder / "training_log.jsonl"))
        assert (result["eval_loss"] == logged[4]) == (weight == 0)  # of the adapter that is kept
        assert result["eval_loss"] < logged[0]
    start = load_file(first / "adapter_model.safetensors")
    for name, learned in saved[0.0].items():
        expected = 0.75 * start[name].float() + 0.25 * learned.float()
        torch.testing.assert_close(saved[0.75][name].float(), expected, rtol=0.02, atol=1e-4)
    assert any((saved[0.0][name] != start[name]).any() for name in start)


def test_public_rows_beside_own_ones_are_learned_as_the_start_answers_them_whatever_their_labels_say(project):
    """At the first step nothing is to be learned of them: the loss is that of the own rows' tokens, over all tokens."""
    root, _ = project
    cfg = settings_of(options(project, "first"))
    own = [{**row(n), "source": "own/made"} for n in range(4)]
    wrong = [{**row(n), "completion": [{"role": "assistant", "content": "{}"}]} for n in range(8, 20)]
    tokenizer = base_model.tokenizer(cfg.train.base_model, cfg.base_dir)
    tokens = {len(rows): sum(len(encode_row(tokenizer, one)[1]) for one in rows) for rows in (own, own + wrong)}
    losses = {}
    for rows in (own, own + wrong):
        staging = handoff.begin(root / f"distilled{len(rows)}")
        files.write_jsonl(staging / "train.jsonl", rows)
        files.write_jsonl(staging / "eval.jsonl", own)
        settings = files.read_json(root / "training" / "manifest.json")["settings"]
        handoff.seal(staging, stage="prepare_training_data", settings=settings)
        more = [
            f"data.training_dir={root / f'distilled{len(rows)}'}",
            f"train.init_adapter={cfg.adapter_dir}",
            "train.max_steps=1",
        ]
        more += ["train.packing=false", "train.batch_size=32", "train.router_aux_loss_coef=0", "train.eval_steps=1"]
        arguments = options(project, f"distilled{len(rows)}", *more, "train.distill=true")
        assert train_moe.main(arguments) == 0
        (step,) = [
            e for e in files.read_jsonl(settings_of(arguments).adapter_dir / "training_log.jsonl") if "loss" in e
        ]
        losses[len(rows)] = step["loss"]
    assert losses[4] > 0.5
    assert losses[16] == pytest.approx(losses[4] * tokens[4] / tokens[16], rel=2e-3)


def test_the_distance_from_the_start_is_the_kl_divergence_with_the_tokens_not_kept_as_one():
    import torch

    logits = torch.tensor([[1.0, 2.0, 3.0, 0.5], [0.0, 0.0, 5.0, 1.0]])
    tokens = torch.tensor([[2, 1], [2, 3]])
    at_start = logits.softmax(dim=-1).gather(-1, tokens)
    assert distilled.divergence(logits, torch.eye(4), tokens, at_start).item() == pytest.approx(0, abs=1e-6)
    other = torch.tensor([[0.5, 0.25], [0.75, 0.125]])
    p, q = (torch.cat([found, 1 - found.sum(dim=-1, keepdim=True)], dim=-1) for found in (other, at_start))
    expected = torch.nn.functional.kl_div(q.log(), p, reduction="sum").item()
    assert distilled.divergence(logits, torch.eye(4), tokens, other).item() == pytest.approx(expected, rel=1e-5)


def test_training_is_logged_for_tensorboard(project):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    cfg = settings_of(options(project, "first"))
    events = EventAccumulator(str(cfg.adapter_dir / "tensorboard")).Reload()
    entries = [e for e in files.read_jsonl(cfg.adapter_dir / "training_log.jsonl") if "loss" in e]
    logged = {event.step: event.value for event in events.Scalars("train/loss")}
    assert logged == {e["step"]: pytest.approx(float(e["loss"])) for e in entries}


# --- the plan, without a GPU ---------------------------------------------------------------------------------


def planned(*arguments):
    """Run the plan in a process of its own, in which nothing that needs a GPU can be imported."""
    code = (
        "import sys\n"
        "for name in ('torch', 'unsloth', 'bitsandbytes', 'transformers'): sys.modules[name] = None\n"
        "import train_moe\n"
        "train_moe.stage.run_stage(lambda argv: train_moe.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "--profile", "gpu", "--plan", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_plan_for_a_card_that_is_not_here_needs_no_gpu_libraries(tmp_path):
    done = planned("--gpu-memory", "15.99", "--set", f"data.training_dir={tmp_path / 'none'}")
    assert done.returncode == 0, done.stderr
    assert "4-bit weights" in done.stdout
    assert "layers in host memory" in done.stdout
    assert "RTX A4000, estimated" in done.stdout
    assert "no rows are prepared" in done.stdout
    assert done.stdout.rstrip().endswith("It fits.")


def test_a_plan_that_does_not_fit_says_so_with_settings_that_do():
    done = planned("--gpu-memory", "15.99", "--set", "train.lora_targets=attention+experts")
    assert done.returncode == 2
    assert "These fit: --set train." in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plan_tells_the_hours_of_the_prepared_rows(tmp_path):
    staging = handoff.begin(tmp_path / "rows")
    part = {"total": 3_600_000}
    files.write_json(staging / "stats.json", {"tokens": {"train": {"receipt": {"prompt": part, "completion": part}}}})
    handoff.seal(staging, stage="prepare_training_data", settings={"profile": "gpu", "contract_form": "sentences"})
    rows = ["--set", f"data.training_dir={tmp_path / 'rows'}", "--set", "train.tokens_per_second=2000"]
    assert "2.0 h for the prepared rows" in planned("--gpu-memory", "15.99", *rows).stdout


def test_a_plan_without_a_card_asks_for_its_size(capsys):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(files.StageError, match="--gpu-memory GIB"):
        train_moe.main(["--profile", "gpu", "--plan"])


def test_the_small_model_has_no_plan():
    with pytest.raises(files.StageError, match="--profile gpu"):
        train_moe.main(["--plan", "--gpu-memory", "8"])


def test_hours_cannot_be_planned_for_an_unknown_card():
    cfg = config.override(config.PROFILES["gpu"], "train.max_hours=4")
    with pytest.raises(files.StageError, match="tokens_per_second"):
        train_moe.tokens_within(cfg, {})
    assert train_moe.tokens_within(cfg, {"a": 1000.0, "b": 500.0}) == 4 * 3600 * 500 / cfg.train.epochs


def wait_for(condition, process, seconds=120):
    limit = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the stage ended before it was interrupted"
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_a_killed_run_leaves_no_adapter_and_its_broken_checkpoint_is_not_used(project):
    arguments = options(project, "killed", "train.max_steps=6", "train.eval_steps=2")
    cfg = settings_of(arguments)
    process = subprocess.Popen([sys.executable, "train_moe.py", *arguments], stdout=subprocess.DEVNULL)
    wait_for(lambda: (cfg.checkpoints_dir / "checkpoint-2" / "manifest.json").is_file(), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not cfg.adapter_dir.exists()
    newest = checkpoints.newest(cfg.checkpoints_dir)
    half = cfg.checkpoints_dir / "checkpoint-4"
    half.mkdir(exist_ok=True)
    (half / "trainer_state.json").write_text('{"global_step": 4')
    assert checkpoints.newest(cfg.checkpoints_dir) == newest
    assert train_moe.main([*arguments, "--resume"]) == 0
    handoff.require(cfg.adapter_dir, made_by="train")


def test_resume_refuses_checkpoints_of_other_settings(project):
    arguments = options(project, "other", "train.max_steps=6")
    cfg = settings_of(arguments)
    checkpoint = cfg.checkpoints_dir / "checkpoint-2"
    checkpoint.mkdir(parents=True)
    (checkpoint / "trainer_state.json").write_text('{"global_step": 2}')
    handoff.write_manifest(checkpoint, stage="train_moe", settings={})
    (cfg.checkpoints_dir / checkpoints.RUN).write_text(json.dumps({"settings": {}, "inputs": {}}))
    with pytest.raises(files.StageError, match="belong to other rows or settings"):
        train_moe.main([*arguments, "--resume"])


def test_missing_or_foreign_rows_name_the_command_to_run(tmp_path, project):
    with pytest.raises(files.StageError, match=r"Run: python prepare_training_data\.py"):
        train_moe.main(["--set", f"data.training_dir={tmp_path / 'absent'}"])
    with pytest.raises(files.StageError, match="was prepared for base_model"):
        train_moe.main(["--set", f"data.training_dir={project[0] / 'training'}"])


def test_resume_without_a_checkpoint_says_what_to_run(project):
    with pytest.raises(files.StageError, match="no checkpoint"):
        train_moe.main([*options(project, "nothing"), "--resume"])


def test_training_some_experts_continues_from_the_same_ones_alone(project):
    from safetensors.torch import load_file

    start = settings_of(options(project, "whole 0.25")).adapter_dir
    more = [f"train.init_adapter={start}", "train.max_steps=1", "train.eval_steps=1", "train.experts_share=0.25"]
    arguments = options(project, "more", *more)
    assert train_moe.main(arguments) == 0
    _, at_start, *_ = files.read_jsonl(settings_of(arguments).adapter_dir / train_moe.LOG)
    assert at_start["eval_loss"] == pytest.approx(
        files.read_json(start / "training_result.json")["eval_loss"], abs=0.01
    )
    for folder in (start, settings_of(arguments).adapter_dir):
        tensors = load_file(folder / "adapter_model.safetensors")
        stacked = {name: t for name, t in tensors.items() if ".experts." in name and "lora_B" in name}
        moved = [t.view(len(t), -1, 8).abs().amax(dim=(0, 1)).nonzero().flatten().tolist() for t in stacked.values()]
        chosen = files.read_json(folder / "adapter_config.json")["trained_experts"]
        assert sorted(moved) == sorted([*chosen, *chosen])
    for share in ("1", "0.5"):
        other = options(project, "other", f"train.init_adapter={start}", f"train.experts_share={share}")
        with pytest.raises(files.StageError, match=rf"trained with experts_share=0.25, not {float(share)}"):
            train_moe.main(other)


def test_an_adapter_with_other_settings_is_not_continued_from(project):
    first = settings_of(options(project, "first")).adapter_dir
    arguments = options(project, "next", f"train.init_adapter={first}", "train.lora_rank=8", "train.max_steps=2")
    with pytest.raises(files.StageError, match=r"was trained with r=32, not 8"):
        train_moe.main(arguments)


def test_a_damaged_adapter_is_not_continued_from(project, tmp_path):
    damaged = tmp_path / "adapter"
    shutil.copytree(settings_of(options(project, "first")).adapter_dir, damaged)
    weights = bytearray((damaged / "adapter_model.safetensors").read_bytes())
    weights[-100] ^= 1
    (damaged / "adapter_model.safetensors").write_bytes(weights)
    arguments = options(project, "next", f"train.init_adapter={damaged}", "train.max_steps=2")
    with pytest.raises(files.StageError, match=r"adapter_model.safetensors was changed after it was made"):
        train_moe.main(arguments)


def test_a_damaged_checkpoint_is_passed_over_and_so_is_one_whose_best_is_damaged(tmp_path, capsys):
    def checkpoint(step, best):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        files.write_json(
            folder / "trainer_state.json", {"global_step": step, "best_model_checkpoint": f"/x/checkpoint-{best}"}
        )
        (folder / "adapter_model.safetensors").write_bytes(b"weights")
        handoff.write_manifest(folder, stage="train_moe", settings={})

    for step, best in ((2, 2), (4, 4), (10, 4)):
        checkpoint(step, best)
    assert checkpoints.newest(tmp_path).name == "checkpoint-10"
    (tmp_path / "checkpoint-4" / "adapter_model.safetensors").write_bytes(b"weightz")
    assert checkpoints.newest(tmp_path).name == "checkpoint-2"
    assert "checkpoint-4 is skipped: adapter_model.safetensors was changed" in capsys.readouterr().err
    (tmp_path / "checkpoint-2" / "manifest.json").unlink()  # killed while it was written
    assert checkpoints.newest(tmp_path) is None


def test_a_checkpoint_that_was_passed_over_is_removed_before_it_is_made_again(tmp_path):
    """PEFT reads the README.md of a checkpoint that it overwrites, and fails on bytes that are no text."""
    cfg = config.override(config.PROFILES["cpu"], f"output.dir={tmp_path}")
    run = {"settings": {"seed": 1}, "inputs": {}}
    for step in (2, 4):
        folder = cfg.checkpoints_dir / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        files.write_json(folder / "trainer_state.json", {"global_step": step})
        (folder / "README.md").write_text("card")
        handoff.write_manifest(folder, stage="train_moe", settings={})
    files.write_json(cfg.checkpoints_dir / checkpoints.RUN, run)
    (cfg.checkpoints_dir / "checkpoint-4" / "README.md").write_bytes(b"ca\xffd")
    for resume in (False, True):
        begun = checkpoints.begin(cfg.checkpoints_dir, run, resume=resume, force=False, writes=False)
        assert begun.name == "checkpoint-2"
        assert (cfg.checkpoints_dir / "checkpoint-4").is_dir()  # another process of the run does it
        assert checkpoints.begin(cfg.checkpoints_dir, run, resume=resume, force=False).name == "checkpoint-2"
        assert [path.name for path in cfg.checkpoints_dir.glob("checkpoint-*")] == ["checkpoint-2"]
        (cfg.checkpoints_dir / "checkpoint-4").mkdir()


def test_an_interrupted_run_is_continued_unless_its_settings_changed_or_force_is_given(tmp_path):
    cfg = config.override(config.PROFILES["cpu"], f"output.dir={tmp_path}")
    run = {"settings": {"seed": 1}, "inputs": {}}
    folder = cfg.checkpoints_dir / "checkpoint-2"

    def begin(run, force=False):
        return checkpoints.begin(cfg.checkpoints_dir, run, resume=False, force=force)

    def interrupted():
        assert begin(run, force=True) is None
        folder.mkdir()
        files.write_json(folder / "trainer_state.json", {"global_step": 2})
        handoff.write_manifest(folder, stage="train_moe", settings={})

    interrupted()
    assert begin(run) == folder
    assert begin({**run, "settings": {"seed": 2}}) is None and not folder.exists()
    interrupted()
    assert begin(run, force=True) is None and not folder.exists()


def test_training_that_only_makes_it_worse_keeps_what_it_started_from(project):
    from safetensors.torch import load_file

    first = settings_of(options(project, "first")).adapter_dir
    worse = ["train.learning_rate=0.5", "train.warmup_ratio=0", "train.max_steps=2", "train.eval_steps=2"]
    arguments = options(project, "worse", f"train.init_adapter={first}", *worse)
    assert train_moe.main(arguments) == 0
    cfg = settings_of(arguments)
    assert files.read_json(cfg.adapter_dir / "training_result.json")["best_step"] == 0
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (first, cfg.adapter_dir))
    assert before.keys() == after.keys()
    assert all((before[name] == after[name]).all() for name in before)


@pytest.mark.parametrize("watches_own", [True, False])
def test_own_documents_choose_the_step_as_much_as_public_rows_do(project, tmp_path, watches_own):
    """Training makes both worse; where no own document is watched, the last step is kept all the same."""
    first = settings_of(options(project, "first")).adapter_dir
    manifest = handoff.manifest_of(project[0] / "training")
    staging = handoff.begin(tmp_path / "training")
    for split in ("train", "eval", "test"):
        rows = list(files.read_jsonl(project[0] / "training" / f"{split}.jsonl"))
        rows[-1] |= {"source": "own/slip" if split == "train" or watches_own else "made"}
        files.write_jsonl(staging / f"{split}.jsonl", rows)
    handoff.seal(staging, stage=manifest["stage"], settings=manifest["settings"])
    worse = ["train.learning_rate=0.5", "train.warmup_ratio=0", "train.max_steps=2", "train.eval_steps=1"]
    changed = [f"train.init_adapter={first}", f"data.training_dir={tmp_path / 'training'}", "train.eval_rows=4"]
    arguments = options(project, f"own{watches_own}", *worse, *changed)
    assert train_moe.main(arguments) == 0
    folder = settings_of(arguments).adapter_dir
    result = files.read_json(folder / "training_result.json")
    evals = [entry for entry in files.read_jsonl(folder / train_moe.LOG) if "eval_loss" in entry][1:]
    assert [entry["step"] for entry in evals] == [0, 1, 2] and result["eval_rows"] == 4
    assert result["best_step"] == (0 if watches_own else 2)
    if watches_own:
        for entry in evals:
            assert entry["eval_loss"] ** 2 == pytest.approx(entry["eval_own_loss"] * entry["eval_public_loss"])
    else:
        assert all("eval_own_loss" not in entry for entry in evals)


def test_the_gpu_profile_without_a_gpu_is_one_sentence(tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    staging = handoff.begin(tmp_path / "training")
    files.write_jsonl(staging / "train.jsonl", [row(1)])
    handoff.seal(staging, stage="prepare", settings={"profile": "gpu", "base_model": "Qwen/Qwen3-30B-A3B"})
    items = [f"data.training_dir={tmp_path / 'training'}", f"output.dir={tmp_path}"]
    with pytest.raises(files.StageError, match="--profile cpu needs none"):
        train_moe.main(["--profile", "gpu", *(part for item in items for part in ("--set", item))])


def test_attention_all_experts_and_router_of_a_qwen2_mixture_are_trained_and_exported(tmp_path, capsys):
    """The logits of the exported file are compared with those of transformers by export_gguf.py itself."""
    import export_gguf
    from tests.helpers import tiny_qwen2

    tiny_qwen2.build(tmp_path / "base")
    staging = handoff.begin(tmp_path / "training")
    for split, numbers in (("train", range(40)), ("eval", range(40, 48)), ("test", range(48, 56))):
        files.write_jsonl(staging / f"{split}.jsonl", [row(n) for n in numbers])
    settings = {"profile": "cpu", "contract_form": "sentences", "base_model": str(tmp_path / "base")}
    handoff.seal(staging, stage="prepare_training_data", settings=settings)
    items = [*SETTINGS, f"train.base_model={tmp_path / 'base'}", f"data.training_dir={tmp_path / 'training'}"]
    items += [f"output.dir={tmp_path / 'output'}", "train.max_steps=4", "train.eval_steps=4", "train.batch_size=2"]
    items += ["train.lora_targets=attention+experts+shared", "train.train_router=true", "train.packing=false"]
    items += ["train.learning_rate=5e-3", "train.expert_lora_rank=4", "export.quantization=Q8_0"]
    arguments = [argument for item in items for argument in ("--set", item)]
    assert train_moe.main(arguments) == 0
    cfg = settings_of(arguments)
    found = files.read_json(cfg.adapter_dir / "adapter_config.json")
    assert found["target_modules"] == sorted(adapter.ATTENTION + adapter.SHARED_EXPERT)
    assert found["modules_to_save"] == ["mlp.gate", "mlp.shared_expert_gate"]
    base = lora.read_adapter(cfg.adapter_dir, files.read_json(tmp_path / "base" / "config.json"))
    assert len(base.whole) == 8 and all(gate.weight.abs().max() > 1e-3 for gate in base.whole.values())  # from 1e-5
    result = files.read_json(cfg.adapter_dir / "training_result.json")
    assert result["eval_loss"] < result["base_eval_loss"]
    assert export_gguf.main(arguments) == 0
    verified = files.read_json(cfg.gguf_dir / "verification.json")
    assert verified["logits"]["max_difference"] < 1e-3
    assert verified["adapter"]["changed_tensors"] == 4 * (4 + 3 + 4 * 3 + 2)  # attention, shared, experts, two gates
    started_from = [
        f"train.init_adapter={cfg.adapter_dir}",
        f"output.dir={tmp_path / 'continued'}",
        "train.max_steps=1",
    ]
    arguments += [argument for item in started_from for argument in ("--set", item)]
    assert train_moe.main(arguments) == 0
    _, at_start, *_ = files.read_jsonl(settings_of(arguments).adapter_dir / train_moe.LOG)
    assert at_start["step"] == 0
    assert at_start["eval_loss"] == pytest.approx(result["eval_loss"], abs=0.01)  # it is saved in bfloat16


def test_a_gate_of_exactly_zero_is_refused_by_the_logit_check(tmp_path):
    """It is NaN in llama.cpp, and NaN is not above any limit."""
    from safetensors.torch import load_file, save_file

    import export_gguf
    from tests.helpers import tiny_qwen2

    tiny_qwen2.build(tmp_path / "base")
    path = tmp_path / "base" / "model.safetensors"
    weights = load_file(path)
    for name in weights:
        if name.endswith("shared_expert_gate.weight"):
            weights[name].zero_()
    save_file(weights, path, metadata={"format": "pt"})
    items = [f"train.base_model={tmp_path / 'base'}", f"output.dir={tmp_path / 'output'}", "export.quantization=F32"]
    with pytest.raises(files.StageError, match="differ by up to nan"):
        export_gguf.main(["--base-only", *(argument for item in items for argument in ("--set", item))])


def test_a_dense_qwen2_is_trained_in_attention_and_mlp_and_another_family_is_refused(tmp_path):
    from tests.helpers import tiny_qwen2

    model, tokens = tiny_qwen2.dense()
    model.save_pretrained(tmp_path / "dense")
    tokens.save_pretrained(tmp_path / "dense")
    staging = handoff.begin(tmp_path / "training")
    for split, numbers in (("train", range(8)), ("eval", range(8, 12)), ("test", range(12, 16))):
        files.write_jsonl(staging / f"{split}.jsonl", [row(n) for n in numbers])
    settings = {"profile": "cpu", "contract_form": "sentences", "base_model": str(tmp_path / "dense")}
    handoff.seal(staging, stage="prepare_training_data", settings=settings)
    items = [*SETTINGS, f"train.base_model={tmp_path / 'dense'}", f"data.training_dir={tmp_path / 'training'}"]
    items += [f"output.dir={tmp_path / 'output'}", "train.max_steps=2", "train.eval_steps=2"]
    arguments = [argument for item in items for argument in ("--set", item)]
    assert train_moe.main(arguments) == 0
    found = files.read_json(settings_of(arguments).adapter_dir / "adapter_config.json")
    assert found["target_modules"] == sorted(adapter.ATTENTION + adapter.MLP)
    settings = files.read_json(tmp_path / "dense" / "config.json")
    files.write_json(tmp_path / "dense" / "config.json", settings | {"model_type": "llama"})
    with pytest.raises(files.StageError, match="is a llama model; only qwen2, qwen3, mixtral, qwen2_moe, qwen3_moe"):
        train_moe.main([*arguments, "--force"])
