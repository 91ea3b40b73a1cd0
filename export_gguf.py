"""Stage 6 of 7: base + adapter -> merged model -> GGUF build.

Reads   output/<profile>/base_model/      made by train_moe.py (profile gpu: the 16-bit model from the hub)
        output/<profile>/lora_adapters/   made by train_moe.py
Writes  output/<profile>/gguf/            doc-intel-<TYPE>.gguf, Modelfile, verification.json, manifest.json
Next    python inference.py data/samples/documents/receipt_photo_1.jpg

    python export_gguf.py
    python export_gguf.py --set export.quantization=Q8_0,Q4_K_M
    python export_gguf.py --verify                       # what each type costs: distance, speed, memory
    python export_gguf.py --set export.imatrix=true --set export.quantization=Q4_K_M,Q3_K_M
    python export_gguf.py --bundle FOLDER                # app, inference and model for another machine
    python export_gguf.py --base-only                    # the base model alone, to output/<profile>/gguf_base/

The adapter is merged while llama.cpp's converter reads the checkpoint, so no merged checkpoint is ever on disk. The
converter is taken once from the source package of the installed llama-cpp-python and kept in .cache/.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import config
from extraction import files, handoff, stage
from extraction.export import bundle, gguf_build, llama_source, quality
from extraction.models import backends, base_model, fit, float32, gpu, lora, rows
from extraction.tasks import completions, own_types, prompts, schemas

STAGE = "export_gguf"
IMATRIX = "imatrix.gguf"
# Bits per weight, for the disk space that is checked before. The small model's rows do not fit the K types, so that
# llama.cpp stores many of them in larger ones; these are the larger figures.
BITS = {"F32": 32, "F16": 16, "BF16": 16, "Q8_0": 8.6, "Q6_K": 8.2, "Q5_K_M": 7, "Q5_K_S": 7, "Q4_K_M": 6, "Q4_K_S": 6}
BITS |= {"Q4_0": 5.6, "IQ4_NL": 5.6, "Q3_K_M": 5, "IQ4_XS": 5, "Q3_K_S": 5, "Q2_K": 5}
MAX_LOGIT_DIFFERENCE = 1e-2  # llama.cpp against transformers and PEFT, both in float32; 1e-4 is usual
ANSWER_TOKENS = 96  # of the answer that every file has to write
# Texts on which the tokenizers have to agree: accents, other scripts, digits, line ends, blanks, markers.
TEXTS = (
    "Invoice INV-2041  2024-03-07\nCOFFEE LATTE   2 x 45,000 = 90,000\nTOTAL  99,000",
    "don't WE'LL caf\u00e9 \u00c4\u00d6 \u20ac12.50 \u6771\u4eac \U0001f680\r\n\r\n\ttab   end ",
    '<|im_start|>user\n{"total":"1.234,56"}<|im_end|>\n<|endoftext|>',
)


# --- the base model ------------------------------------------------------------------------------------------


def find_base(cfg: config.Config, folder: Path | None) -> gguf_build.Base:
    """The base model of the settings, or of a folder given by hand. Raises StageError saying how to get it."""
    name = cfg.train.base_model
    if folder is None and name == base_model.BUILT:
        manifest = handoff.require(cfg.base_dir, made_by=cfg.command("train_moe"))
        return gguf_build.read_base(cfg.base_dir, manifest)
    if folder is None and not Path(name).is_dir():
        folder = download_base(name)
        revision = folder.name  # of a snapshot the folder is called by it
        return gguf_build.read_base(folder, {"fingerprint": f"{name}@{revision}"})
    return gguf_build.read_base(Path(folder or name).resolve())


def download_base(name: str) -> Path:
    """The folder of a model from the hub, downloaded if it is not in the hub's cache."""
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        gguf_build.refuse_quantized(files.read_json(Path(hf_hub_download(name, "config.json"))), name)
        _say(f"looking for {name} in the hub's cache, downloading what is missing")
        return Path(snapshot_download(name, allow_patterns=["*.safetensors", "*.json", "*.txt", "*.model"]))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise files.StageError(f"the base model {name} could not be downloaded: {reason}") from error


def calibration_text(path: Path, tokenizer: Any, tokens: int) -> str:
    """Training rows as the model sees them, tasks in turn, until there are so many tokens."""
    parts, count = [], 0
    for row in rows.take_turns(files.read_jsonl(path)):
        if count >= tokens:
            break
        parts.append("".join(rows.render_row(tokenizer, row)))
        count += len(encode(tokenizer, parts[-1]))
    return "\n".join(parts)


# --- verifying -----------------------------------------------------------------------------------------------


def reference_logits(base: gguf_build.Base, adapter: Path | None, ids: list[int]) -> Any:
    """The logits of transformers, and of PEFT's adapter on it, in float32: `(tokens, vocabulary)`."""
    import torch
    from transformers import AutoModelForCausalLM

    base_model.quiet()
    model = float32.by_layer(AutoModelForCausalLM.from_pretrained(base.folder, dtype="auto").eval())
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter).eval()
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0].numpy()


def compare_logits(path: Path, ids: list[int], expected: Any) -> dict:
    """How far llama.cpp's logits of an unquantized file lie from the expected ones. Raises StageError if too far."""
    import llama_cpp
    import numpy

    llm = llama_cpp.Llama(
        str(path),
        n_ctx=max(len(ids) + 8, 64),
        n_batch=max(len(ids), 32),
        logits_all=True,
        type_k=llama_cpp.GGML_TYPE_F32,  # a 16-bit cache alone shifts logits by up to 0.3
        type_v=llama_cpp.GGML_TYPE_F32,
        n_threads=1,
        n_threads_batch=os.cpu_count() or 1,
        verbose=False,
    )
    llm.eval(ids)
    found = numpy.array(llm.scores[: len(ids)])
    llm.close()
    width = min(found.shape[1], expected.shape[1])
    difference = float(numpy.abs(found[:, :width] - expected[:, :width]).max())
    agree = int((found.argmax(axis=1) == expected.argmax(axis=1)).sum())
    if not difference <= MAX_LOGIT_DIFFERENCE:
        raise files.StageError(
            f"the logits of the GGUF build and those of base model and adapter differ by up to {difference:.3g}, "
            f"at most {MAX_LOGIT_DIFFERENCE} is allowed"
        )
    return {"max_difference": difference, "tokens": len(ids), "same_next_token": agree}


def sample_messages() -> list[dict[str, str]]:
    return prompts.messages(
        schemas.RECEIPT, "CAFE BLUE\n2 Tea        2.00    4.00\n1 Cake       3.50    3.50\nTOTAL  7.50"
    )


def check_file(path: Path, tokenizer: Any) -> dict:
    """Load a GGUF file as stage 5 does. Raises StageError unless tokens, template and a schema-bound answer are right.

    Returns the answer and how it was read.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if path.stat().st_size > memory:
        return {"answer": None, "reason": f"the file is larger than this machine's {memory / 1e9:.0f} GB of memory"}
    backend = backends.LlamaBackend(path, 512 + 4 * ANSWER_TOKENS, ANSWER_TOKENS, 0)
    messages = sample_messages()
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    if backend.render(messages) != prompt:
        raise files.StageError(f"the chat template of {path.name} and the tokenizer's render different prompts")
    for text in (*TEXTS, prompt):
        # add_bos as servers call it: the file itself says that nothing is to be put in front
        if backend.llm.tokenize(text.encode(), add_bos=True, special=True) != encode(tokenizer, text):
            raise files.StageError(f"{path.name} and the base model's tokenizer split {text[:40]!r} differently")
    answer = backend.complete([backends.Request(messages, schemas.RECEIPT.schema)])[0]
    backend.llm.close()
    reading = completions.parse(schemas.RECEIPT, answer.text)
    if reading.record is None:
        raise files.StageError(f"{path.name} wrote an answer that cannot be read: {reading.problem}")
    return {"answer": answer.text, "problem": reading.problem, "tokens": answer.completion_tokens}


def encode(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


# --- the Modelfile -------------------------------------------------------------------------------------------

# The chat templates of extraction/tasks in Go's template language. `.System` is in `.Messages` too, so that the
# loop leaves it out.
GO_TEMPLATE = """{{- if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}
{{- range .Messages }}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ .Content }}<|im_end|>
{{ end }}
{{- end }}<|im_start|>assistant
"""
NO_THINKING = "<think>\n\n</think>\n\n"


def modelfile(cfg: config.Config, model_type: str, gguf: str, task: schemas.Task = schemas.GENERAL) -> str:
    """The Ollama model of a GGUF file: prompt and decoding as everywhere else in this project."""
    ending = prompts.chat_template(model_type) == prompts.chat_template("qwen3")
    lines = [
        "# Written by export_gguf.py from config.py and extraction/tasks.   ollama create doc-intel -f Modelfile"
        if task is schemas.GENERAL
        else f"# For {task.name}.   ollama create doc-intel-{task.name} -f Modelfile-{task.name}",
        f"FROM {gguf}",
        f'TEMPLATE """{GO_TEMPLATE}{NO_THINKING if ending else ""}"""',
        f'SYSTEM """{quoted(task.instructions)}"""',
        f"PARAMETER num_ctx {cfg.export.num_ctx}",
        f"PARAMETER num_predict {cfg.export.num_predict}",
        # where a prompt is cut, the instructions stay: an English token has more than three characters
        f"PARAMETER num_keep {len(task.instructions) // 3 + 8}",
        "PARAMETER temperature 0",
        "PARAMETER top_k 1",
        "PARAMETER repeat_penalty 1.0",
        'PARAMETER stop "<|im_end|>"',
        'PARAMETER stop "<|endoftext|>"',
        "LICENSE Apache-2.0",
    ]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """The text as it may stand between the triple quotes of a Modelfile, where nothing can be escaped."""
    return text.replace('"""', "'''") + " " * text.endswith('"')


def write_modelfiles(cfg: config.Config, model_type: str, gguf: str, out: Path) -> None:
    """The Modelfile, and one for each own document type that the model knows."""
    files.write_text(out / "Modelfile", modelfile(cfg, model_type, gguf))
    for name, task in own_types.load(out).items():
        files.write_text(out / f"Modelfile-{name}", modelfile(cfg, model_type, gguf, task))


def write_repository_modelfile(cfg: config.Config, path: Path) -> Path:
    """Write the Modelfile that stands at the top of the repository: for the profile's first quantization type."""
    model_type = "qwen2_moe"
    if cfg.train.base_model != base_model.BUILT:
        from transformers import AutoConfig

        model_type = AutoConfig.from_pretrained(base_model.resolve(cfg.train.base_model)).model_type
    gguf = cfg.gguf_file(cfg.export.quantization[0]).relative_to(config.ROOT)
    return files.write_text(path, modelfile(cfg, model_type, f"./{gguf}"))


# --- the stage -----------------------------------------------------------------------------------------------


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def find_adapter(cfg: config.Config, folder: Path | None, base: gguf_build.Base) -> tuple[Path, dict]:
    """The adapter's folder and manifest. Raises StageError if it is missing or was trained on another base model."""
    made_by = cfg.command("train_moe")
    built = cfg.train.base_model == base_model.BUILT
    trained_on = {"base": base.manifest} if built else None
    if folder is None or handoff.manifest_of(folder):
        found = folder or cfg.adapter_dir
        manifest = handoff.require(found, made_by=made_by, built_from=None if folder else trained_on)
        schemas.check_form(manifest, found, made_by)
        return found.resolve(), manifest
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).is_file():
            raise files.StageError(f"{folder} holds no {name}")
    return folder.resolve(), {"fingerprint": files.sha256(folder / "adapter_model.safetensors")[:16]}


def intermediate_type(base: gguf_build.Base, kinds: tuple[str, ...]) -> str:
    """What the checkpoint is converted to before it is quantized."""
    return "F32" if base.is_small or "F32" in kinds else "BF16"


def check_space(folder: Path, needed: float, what: str = "") -> None:
    """Raises StageError unless so many bytes fit onto the disk of a folder."""
    free = files.free_bytes(folder)
    if free < needed:
        raise files.StageError(f"{needed / 1e9:.1f} GB are needed{what} in {folder}, {free / 1e9:.1f} GB are free")


@contextlib.contextmanager
def growing(label: str, path: Path, expected: float) -> Iterator[None]:
    """Show how a file that something else writes grows: a bar on a terminal, one line elsewhere."""
    from tqdm import tqdm

    if not sys.stderr.isatty():
        _say(f"{label} ...")
    finished = threading.Event()

    def watch(bar: Any) -> None:
        while not finished.wait(0.5):
            if path.is_file():
                bar.update(min(path.stat().st_size, expected) - bar.n)

    with tqdm(total=int(expected), desc=label, unit="B", unit_scale=True, disable=None, leave=False) as bar:
        thread = threading.Thread(target=watch, args=(bar,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            finished.set()
            thread.join()


@contextlib.contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - started, 1)


def gguf_path(cfg: config.Config, base_only: bool, kind: str) -> Path:
    return cfg.base_gguf_file(kind) if base_only else cfg.gguf_file(kind)


def build(
    cfg: config.Config, base: gguf_build.Base, adapter: Path | None, converter: Path, tools: Path | None, out: Path
) -> dict:
    """Write every GGUF file of the settings and the Modelfile into `out`. Returns the verification's results.

    `tools` is the folder of llama.cpp's programs, for an importance matrix.
    """
    kinds = cfg.export.quantization
    paths = {kind: out / gguf_path(cfg, adapter is None, kind).name for kind in kinds}
    work = out / "work"
    work.mkdir()
    tokenizer = base_model.tokenizer(str(base.folder), base.folder)
    first = intermediate_type(base, kinds)
    source = paths.get(first, work / f"{first}.gguf")
    seconds: dict[str, float] = {}
    result: dict[str, Any] = {"adapter": None, "files": {}, "seconds": seconds}

    with timed(seconds, "convert"), growing("converting", source, base.parameters * BITS[first] / 8):
        checkpoint = gguf_build.stage_checkpoint(base, work / "checkpoint")
        report = gguf_build.convert(converter, checkpoint, adapter, first, source, work)
    if adapter is not None:
        result["adapter"] = lora.check_report(
            report, lora.touched(lora.read_adapter(adapter, base.config), base.shapes)
        )
    with timed(seconds, "logits"):
        result |= verify_logits(base, adapter, source, tokenizer)
    if cfg.export.imatrix:
        _say("measuring the importance matrix")
        text = calibration_text(cfg.training_dir / "train.jsonl", tokenizer, cfg.export.imatrix_tokens)
        with timed(seconds, "imatrix"):
            gguf_build.measure_imatrix(tools, source, text, out / IMATRIX, work)
    for kind, path in paths.items():
        if path == source:
            continue
        with timed(seconds, kind), growing(f"quantizing to {kind}", path, base.parameters * BITS[kind] / 8):
            gguf_build.quantize(source, path, kind, out / IMATRIX if cfg.export.imatrix else None)
    shutil.rmtree(work)
    for kind, path in paths.items():
        _say(f"checking {path.name}")
        with timed(seconds, f"check {kind}"):
            result["files"][path.name] = check_file(path, tokenizer)
        sizes = fit.sizes(path)
        here = round(gpu.free(), 2)  # of this machine's GPU, if llama.cpp was built for it
        cards = [
            asdict(fit.advise(sizes, cfg.export.num_ctx, card)) for card in (*fit.CARDS, *([here] if here else ()))
        ]
        result["files"][path.name]["cards"] = cards
    own_types.save(out, adapter)
    write_modelfiles(cfg, base.model_type, f"./{paths[kinds[0]].name}", out)
    return result


def verify_logits(base: gguf_build.Base, adapter: Path | None, source: Path, tokenizer: Any) -> dict:
    """How far the unquantized build's logits lie from transformers', or why they were not compared."""
    if not base.is_small:
        reason = f"not compared: {base.parameters / 1e9:.1f} B parameters in float32 are too many"
        return {"logits": None, "logits_reason": reason}
    _say("comparing logits with transformers")
    prompt = tokenizer.apply_chat_template(sample_messages(), tokenize=False, add_generation_prompt=True)
    ids = encode(tokenizer, prompt + '{"merchant":{"name":"CAFE BLUE"}')
    return {"logits": compare_logits(source, ids, reference_logits(base, adapter, ids))}


def export_merged(cfg: config.Config, base: gguf_build.Base, adapter: Path, inputs: dict[str, dict]) -> int:
    """Write `output/<profile>/merged_model/`."""
    folder = cfg.merged_dir
    check_space(folder, 2 * base.parameters + 50e6)
    with written(folder) as out:
        tokenizer = base_model.tokenizer(str(base.folder), base.folder)
        result = gguf_build.write_merged(base, lora.read_adapter(adapter, base.config), tokenizer, out)
        handoff.seal(out, stage=STAGE, settings={"base_model": str(base.folder)}, inputs=inputs)
    print(f"[6/7] merged checkpoint in {folder}, {result['changed_tensors']} weights changed by the adapter")
    print("Next: see deploy/README.md for vLLM")
    return 0


@contextlib.contextmanager
def written(folder: Path) -> Iterator[Path]:
    """A folder to write into; nothing of it stays if that fails, Ctrl-C included: it may be gigabytes."""
    out = handoff.begin(folder)
    try:
        yield out
    except BaseException:
        handoff.abandon(out)
        raise


def encoded_rows(cfg: config.Config, tokenizer: Any) -> list[dict]:
    """Rows of the eval split as token ids of prompt and answer, tasks in turn."""
    chosen = rows.take_turns(files.read_jsonl(cfg.training_dir / "eval.jsonl"))[: cfg.export.verify_rows]
    return [dict(zip(("prompt", "answer"), rows.encode_row(tokenizer, row), strict=True)) for row in chosen]


def verify(cfg: config.Config, folder: Path) -> int:
    """Compare the sealed GGUF files with the largest of them, on rows of the eval split, and print a table.

    Writes `quality.json` and `quality.md` to `output/<profile>/gguf_quality/`.
    """
    manifest = handoff.require(folder, made_by=cfg.command("export_gguf"))
    handoff.require(cfg.training_dir, made_by=cfg.command("prepare_training_data"))
    paths = [folder / name for name in manifest["files"] if name.endswith(".gguf") and name != IMATRIX]
    paths.sort(key=lambda path: -path.stat().st_size)
    encoded = encoded_rows(cfg, base_model.tokenizer(cfg.train.base_model, cfg.base_dir))
    out = handoff.begin(cfg.gguf_quality_dir)
    with tempfile.TemporaryDirectory(dir=out.parent) as work:
        results = quality.measure(paths, encoded, Path(work), cfg.inference.threads or os.cpu_count() or 1)
    files.write_json(out / "quality.json", {"rows": len(encoded), "results": results})
    files.write_text(out / "quality.md", quality.table(results))
    handoff.seal(out, stage=STAGE, settings={"verify_rows": cfg.export.verify_rows}, inputs={"gguf": manifest})
    print(quality.table(results), end="")
    print(f"on the answers of {len(encoded)} eval rows, {results[0]['tokens']} tokens")
    return 0


def settings_of(args: argparse.Namespace, cfg: config.Config, inputs: dict[str, dict]) -> dict:
    """What a build depends on beside its inputs."""
    packages = ("llama-cpp-python", "gguf", "transformers", "peft")
    return {
        **{name: value for name, value in asdict(cfg.export).items() if name != "verify_rows"},
        "base_model": str(args.base or cfg.train.base_model),
        "contract_form": schemas.CONTRACT_FORM if "adapter" in inputs else None,
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def converter_of(args: argparse.Namespace, cfg: config.Config) -> Path:
    """The folder of llama.cpp's converter: that of --llama-cpp, or the one of the installed llama-cpp-python."""
    folder = args.llama_cpp or llama_source.converter(cfg.cache_dir)
    if not (folder / "convert_hf_to_gguf.py").is_file():
        raise files.StageError(f"{folder} holds no convert_hf_to_gguf.py")
    return folder


def say_what_was_made(args: argparse.Namespace, cfg: config.Config, is_small: bool, result: dict) -> None:
    """The lines on the terminal after a build, and the next command."""
    paths = [gguf_path(cfg, args.base_only, kind) for kind in cfg.export.quantization]
    merged = f", {result['adapter']['changed_tensors']} weights changed by the adapter" if result["adapter"] else ""
    print(f"[6/7] GGUF build in {paths[0].parent}{merged}")
    for path in paths:
        print(f"      {path.name}  {path.stat().st_size / 1e6:,.0f} MB")
        if not is_small:
            for card in result["files"][path.name]["cards"]:
                print(f"        {fit.say(card, path, cfg.export.num_ctx)}")
    if result["logits"]:
        print(f"      logits before quantization: within {result['logits']['max_difference']:.1e} of transformers'")
    else:
        print(f"      logits {result['logits_reason']}")
    if args.base_only:
        print(f"Next: {cfg.command('test_moe', '--model', paths[0])}")
    else:
        print(f"Next: {cfg.command('inference', 'data/samples/documents/receipt_photo_1.jpg')}")


def main(argv: list[str] | None = None) -> int:
    p = config.parser(__doc__)
    p.add_argument("--base", type=Path, metavar="DIR", help="a 16-bit checkpoint in place of the settings' base model")
    p.add_argument("--adapter", type=Path, metavar="DIR", help="an adapter in place of the one that stage 3 made")
    p.add_argument("--base-only", action="store_true", help="export the base model without an adapter")
    p.add_argument("--llama-cpp", type=Path, metavar="DIR", help="a llama.cpp source folder whose converter to use")
    p.add_argument("--force", action="store_true", help="build again even if nothing changed")
    instead = p.add_mutually_exclusive_group()
    instead.add_argument("--verify", action="store_true", help="compare the GGUF files that are there, on eval rows")
    instead.add_argument(
        "--merged", action="store_true", help="write a merged 16-bit checkpoint, for vLLM and the like"
    )
    instead.add_argument(
        "--modelfile", action="store_true", help="only write this profile's Modelfile to the repository"
    )
    instead.add_argument(
        "--bundle", type=Path, metavar="FOLDER", help="write the build and what reads with it to a folder"
    )
    args, cfg = config.read(p, argv)
    if args.base_only and (args.merged or args.adapter or args.bundle):
        p.error("--base-only leaves the adapter out: give no --merged, --adapter or --bundle with it")
    if args.modelfile:
        print(f"wrote {write_repository_modelfile(cfg, config.ROOT / 'Modelfile')}")
        return 0
    if args.bundle:
        print(f"[6/7] {bundle.write(config.ROOT, cfg, config.arguments(cfg), args.bundle)}")
        print(f"Next: see {args.bundle / 'README.md'}")
        return 0
    folder = cfg.base_gguf_dir if args.base_only else cfg.gguf_dir
    if args.verify:
        return verify(cfg, folder)

    base = find_base(cfg, args.base)
    adapter, inputs = None, {"base": base.manifest}
    if not args.base_only:
        adapter, inputs["adapter"] = find_adapter(cfg, args.adapter, base)
        lora.touched(lora.read_adapter(adapter, base.config), base.shapes)  # before any work: does it fit?
    if args.merged:
        return export_merged(cfg, base, adapter, inputs)
    if cfg.export.imatrix:
        inputs["rows"] = handoff.require(cfg.training_dir, made_by=cfg.command("prepare_training_data"))
    settings = settings_of(args, cfg, inputs)
    if not args.force and handoff.is_current(folder, stage=STAGE, settings=settings, inputs=inputs):
        print(f"[6/7] {folder} is already there")
        return 0
    kinds = cfg.export.quantization
    bits = sum(BITS[kind] for kind in {*kinds, intermediate_type(base, kinds)})
    check_space(folder, base.parameters * bits / 8 + 50e6, f" for {', '.join(kinds)}")
    converter = converter_of(args, cfg)
    tools = llama_source.tools(cfg.cache_dir) if cfg.export.imatrix else None
    with written(folder) as out:
        result = build(cfg, base, adapter, converter, tools, out)
        files.write_json(out / "verification.json", result)
        handoff.seal(out, stage=STAGE, settings=settings, inputs=inputs)
    say_what_was_made(args, cfg, base.is_small, result)
    return 0


if __name__ == "__main__":
    stage.run_stage(main)
