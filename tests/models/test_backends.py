"""extraction/models/backends.py: what a backend answers, by the tiny model."""

import dataclasses
import json
import os
import re
import struct
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest

import config
from extraction import files
from extraction.models import backends, choice, confidence
from extraction.tasks import completions, prompts, schemas

CFG = config.PROFILES["cpu"]
RECEIPT = "Corner Shop\nTea    2.00\nCake   3.50\nSUBTOTAL   5.50\nTAX  0.50\nTOTAL  6.00\nCASH  10.00\nCHANGE  4.00\n"


# --- real models ---------------------------------------------------------------------------------------------


def test_a_random_model_writes_only_records_under_the_grammar(tiny_cfg):
    """Nothing but the constraint makes this model write JSON: it is random."""
    backend = choice.choose(tiny_cfg, "base").open()
    requests = [
        backends.Request(prompts.messages(task, RECEIPT, "What?" if task is schemas.QUESTION else None), task.schema)
        for task in schemas.TASKS.values()
        for _ in range(2)
    ]
    answers = backend.complete(requests)
    for request, answer in zip(requests, answers, strict=True):
        task = next(t for t in schemas.TASKS.values() if t.schema == request.schema)
        reading = completions.parse(task, answer.text)
        assert reading.record is not None, answer.text
        assert 0 < answer.completion_tokens <= 96


def test_answers_do_not_depend_on_the_batch_they_were_made_in(tiny_cfg):
    backend = choice.choose(tiny_cfg, "base").open()
    requests = [
        backends.Request(prompts.messages(schemas.QUESTION, RECEIPT * n, "What is the total?"), schemas.QUESTION.schema)
        for n in (1, 2, 1)
    ]
    together = [a.text for a in backend.complete(requests)]
    alone = [backend.complete([r])[0].text for r in requests]
    assert together[0] == together[2]
    assert together == alone


def test_a_prompt_over_the_context_is_an_error_and_not_an_answer(tiny_cfg):
    backend = choice.choose(tiny_cfg, "base").open()
    long = backends.Request(prompts.messages(schemas.RECEIPT, "word " * 3000), schemas.RECEIPT.schema)
    short = backends.Request(prompts.messages(schemas.RECEIPT, RECEIPT), schemas.RECEIPT.schema)
    first, second = backend.complete([long, short])
    assert "fit" in first.error and first.text == ""
    assert second.error is None and second.text.startswith("{")


def test_an_adapter_stands_in_the_weights_while_answers_are_written(tiny_cfg, tmp_path):
    """PEFT would else add it to those of the experts anew at every token, which takes longer than the tiny model."""
    import torch
    from peft import LoraConfig, get_peft_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    base = choice.choose(tiny_cfg, "base").open()
    experts = {"target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]}
    lora = LoraConfig(r=4, target_modules=["q_proj"], **experts, init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(base.model, lora).save_pretrained(tmp_path)
    sizes = {"device": "cpu", "context_tokens": 1024, "max_new_tokens": 4, "batch_size": 1}
    backend = backends.TransformersBackend("tiny", tiny_cfg.train.base_model, tmp_path, base.tokenizer, **sizes)
    ids = torch.arange(100, 120)[None]
    with torch.inference_mode():
        added = backend.model(ids).logits
        for _ in range(2):
            backend.complete([backends.Request(prompts.messages(schemas.RECEIPT, RECEIPT), schemas.RECEIPT.schema)])
            assert all(layer.merged for layer in backend.model.modules() if isinstance(layer, BaseTunerLayer))
        torch.testing.assert_close(backend.model(ids).logits, added, rtol=1e-4, atol=1e-4)
        with backend.model.disable_adapter():
            assert not torch.allclose(backend.model(ids).logits, added, atol=0.1)


def test_a_gguf_is_loaded_onto_the_gpu(tiny_gguf, monkeypatch):
    import llama_cpp

    given = []
    loaded = llama_cpp.Llama
    monkeypatch.setattr(llama_cpp, "llama_supports_gpu_offload", lambda: True)
    monkeypatch.setattr(llama_cpp, "Llama", lambda *args, **options: given.append(options) or loaded(*args, **options))
    cfg = dataclasses.replace(tiny_gguf, inference=dataclasses.replace(tiny_gguf.inference, gpu_layers=3))
    choice.choose(cfg, "base-gguf").open()
    assert given[0]["n_gpu_layers"] == 3


# --- confidences and caches ---------------------------------------------------------------------------------


QUESTION = backends.Request(prompts.messages(schemas.QUESTION, RECEIPT, "What is the total?"), schemas.QUESTION.schema)


def test_confidences_are_the_models_own_probabilities_among_what_the_grammar_allows(tiny_cfg):
    """Of an answer of the tiny model, computed anew without the logits processor, token by token."""
    import llguidance
    import numpy
    import torch

    backend = choice.choose(tiny_cfg, "base").open()
    answer = backend.complete([QUESTION])[0]
    prompt = backend.tokenizer.apply_chat_template(QUESTION.messages, tokenize=False, add_generation_prompt=True)
    start = backend.tokenizer(prompt, add_special_tokens=False)["input_ids"]
    matcher = llguidance.LLMatcher(backend.matcher_tokenizer, backends.grammar(QUESTION.schema))
    ids, choices = list(start), []
    while not matcher.is_stopped() and len(choices) < tiny_cfg.inference.max_new_tokens:
        with torch.inference_mode():
            logits = backend.model(torch.tensor([ids])).logits[0, -1].numpy()
        allowed = numpy.zeros(len(logits), dtype=bool)
        mask = numpy.frombuffer(matcher.compute_bitmask(), dtype=numpy.uint8)
        bits = numpy.unpackbits(mask, bitorder="little")[: len(logits)]
        allowed[: len(bits)] = bits
        shares = numpy.exp(logits[allowed] - logits[allowed].max())
        choices.append(float(numpy.log(1 / shares.sum())) if allowed.sum() > 1 else None)
        ids.append(int(numpy.flatnonzero(allowed)[logits[allowed].argmax()]))
        if ids[-1] == backend.tokenizer.eos_token_id:
            break
        matcher.consume_token(ids[-1])
    written = [token for token in ids[len(start) :] if token != backend.tokenizer.eos_token_id]
    pieces = [backend.matcher_tokenizer.decode_bytes([token]) for token in written]
    assert answer.text == b"".join(pieces).decode(errors="replace")
    expected = confidence.of_values(answer.text, pieces, choices[: len(written)])
    assert answer.confidences == pytest.approx(expected, rel=1e-3)


def test_a_gguf_answers_with_the_tokens_that_llama_cpps_own_greedy_sampler_takes_behind_the_grammar(tiny_gguf):
    import llguidance
    import numpy
    from llama_cpp import LogitsProcessorList

    backend = choice.choose(tiny_gguf, "base-gguf").open()
    llm = backend.llm
    for task in (schemas.RECEIPT, schemas.DOCUMENT, schemas.CONTRACT):
        request = backends.Request(prompts.messages(task, RECEIPT), task.schema)
        matcher = llguidance.LLMatcher(backend.tokenizer, backends.grammar(task.schema))

        def only_allowed(_, scores, matcher=matcher):
            bits = numpy.unpackbits(numpy.frombuffer(matcher.compute_bitmask(), numpy.uint8), bitorder="little")
            scores[bits[: len(scores)] == 0] = -numpy.inf
            return scores

        llm.reset()
        prompt = llm.tokenize(backend.render(request.messages).encode(), add_bos=False, special=True)
        taken = []
        for token in llm.generate(prompt, temp=0.0, logits_processor=LogitsProcessorList([only_allowed])):
            if token == llm.token_eos():
                break
            taken.append(token)
            matcher.consume_token(token)
            if matcher.is_stopped() or len(taken) == backend.max_new_tokens:
                break
        llm.reset()
        answer = backend.complete([request])[0]
        assert answer.text == llm.detokenize(taken).decode(errors="replace")
        assert (answer.prompt_tokens, answer.completion_tokens) == (len(prompt), len(taken))
        assert len(taken) > 10 and 0 < answer.prompt_seconds < answer.seconds


def test_a_prompt_that_begins_like_the_one_before_is_not_evaluated_anew_and_gets_the_same_answer(tiny_gguf):
    one = replace(tiny_gguf, inference=replace(tiny_gguf.inference, at_once=1))
    backend = choice.choose(one, "base-gguf").open()
    texts = [RECEIPT, RECEIPT.replace("TOTAL", "Total"), RECEIPT]
    requests = [backends.Request(prompts.messages(schemas.RECEIPT, text), schemas.RECEIPT.schema) for text in texts]
    alone = []
    for request in requests:
        backend.contexts.forget()
        alone += backend.complete([request])
    backend.contexts.forget()
    together = backend.complete([*requests, requests[-1]])
    assert [answer.cached_tokens for answer in alone] == [0, 0, 0]
    system = backend.count(schemas.RECEIPT.instructions)
    cached = [answer.cached_tokens for answer in together]
    assert cached[0] == 0 and system < cached[1] == cached[2] < together[0].prompt_tokens - 1
    assert cached[3] == together[3].prompt_tokens - 1  # the last is needed for what follows it
    assert [answer.text for answer in together] == [answer.text for answer in [*alone, alone[-1]]]


def test_answers_written_together_are_those_written_alone(tiny_gguf):
    cfgs = [replace(tiny_gguf, inference=replace(tiny_gguf.inference, at_once=count)) for count in (1, 3)]
    one, several = (choice.choose(cfg, "base-gguf").open() for cfg in cfgs)
    texts = [RECEIPT, f"Corner Shop\n{RECEIPT}", RECEIPT.replace("TOTAL", "Total"), "Tea 2.00", "Cake 3.50"]
    requests = [backends.Request(prompts.messages(schemas.RECEIPT, text), schemas.RECEIPT.schema) for text in texts]
    alone = one.complete(requests)
    told = defaultdict(list)
    with ThreadPoolExecutor(2) as threads:  # each is told of its own answers, whichever works for both
        halves = [(name, requests[part]) for name, part in (("first", slice(0, 3)), ("second", slice(3, None)))]
        asked = [
            threads.submit(several.complete, half, lambda i, answer, name=name: told[name].append((i, answer)))
            for name, half in halves
        ]
        together = [answer for call in asked for answer in call.result()]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    for answer, other in zip(together, alone, strict=True):
        assert answer.confidences == pytest.approx(other.confidences, rel=0.05)
    assert {name: sorted(i for i, _ in answers) for name, answers in told.items()} == {
        "first": [0, 1, 2],
        "second": [0, 1],
    }
    with pytest.raises(ZeroDivisionError):  # of one who is told: the others' answers come all the same
        several.complete(requests, lambda *_: 1 / 0)
    assert several.complete(requests)[0].text == alone[0].text


def test_answers_that_nobody_waits_for_any_more_are_not_begun(tiny_gguf):
    class Counted:
        def __init__(self, first, most):
            self.prompt, self.most, self.taken = [first, 2, 3], most, 0

        def take(self, scores):
            self.taken += 1
            return None if self.taken >= self.most else 1

    contexts = choice.choose(tiny_gguf, "base-gguf").open().contexts
    every = list(contexts.free)
    others = [Counted(first, 900) for first in range(10, 18)]
    with pytest.raises(ZeroDivisionError):
        contexts.run([Counted(1, 1), *others], lambda *_: 1 / 0)
    contexts.run([Counted(2, 1)], lambda *_: None)
    assert max(other.taken for other in others) < 900
    assert not {16, 17} & {
        token for context in every for token in context.tokens[:1]
    }  # not even their prompts are evaluated


def test_both_backends_give_the_same_confidences(tiny_gguf, monkeypatch):
    import llama_cpp

    cfg = tiny_gguf
    exact = {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32}  # the cache, as transformers has it
    monkeypatch.setattr(llama_cpp, "Llama", partial(llama_cpp.Llama, **exact))
    requests = [backends.Request(prompts.messages(t, RECEIPT), t.schema) for t in (schemas.RECEIPT, schemas.CONTRACT)]
    ours, others = (choice.choose(cfg, name).open().complete([*requests, QUESTION]) for name in ("base-gguf", "base"))
    assert [answer.text for answer in ours] == [answer.text for answer in others]
    assert sum(len(answer.confidences) for answer in ours) > 0
    for answer, other in zip(ours, others, strict=True):
        assert answer.confidences == pytest.approx(other.confidences, rel=0.01)


# --- files that are no model ---------------------------------------------------------------------------------


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
        choice.choose(CFG, str(path)).open()
    assert found.value.status == 3


def test_the_command_says_so_too_and_without_a_traceback(tmp_path):
    (tmp_path / "a.txt").write_text("Invoice")
    gguf(tmp_path / "model.gguf", block_count=1_000_000)
    command = [sys.executable, "inference.py", tmp_path / "a.txt", "--model", tmp_path / "model.gguf"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 3
    assert re.fullmatch(r"error: .*model\.gguf cannot be loaded by llama\.cpp: .*\n", done.stderr)


# --- values that are chosen, answers that grow ---------------------------------------------------------------


@pytest.mark.parametrize("model", ["base-gguf", "base"])
def test_amounts_and_dates_of_an_answer_are_among_those_that_the_prompt_prints(tiny_gguf, model):
    backend = choice.choose(tiny_gguf, model).open()
    schema = {"type": "object", "properties": {"date": {"type": "string", "maxLength": 80}}, "required": ["date"]}
    schema["additionalProperties"] = False
    narrowed = {**schema, "properties": {"date": {"$ref": "#/$defs/date"}}}
    narrowed["$defs"] = {"date": {"type": "string", "enum": ["12 May 2026", "14/05/2025", '5"', "Ü"]}}
    messages = prompts.messages(schemas.RECEIPT, RECEIPT)
    free, chosen = backend.complete([backends.Request(messages, schema), backends.Request(messages, schema, narrowed)])
    value = json.loads(chosen.text)["date"]
    assert value in narrowed["$defs"]["date"]["enum"]
    assert json.loads(free.text)["date"] not in narrowed["$defs"]["date"]["enum"]
    # among all texts, not among four: a model of random weights is sure of nothing that it writes
    assert 0 < chosen.confidences["date"] < 1e-3


def test_an_answer_is_as_long_as_its_request_says_and_the_context_allows(tiny_gguf):
    backend = choice.choose(tiny_gguf, "base-gguf").open()
    schema = {"type": "array", "items": {"type": "string", "minLength": 5}, "minItems": 500}
    messages = prompts.messages(schemas.RECEIPT, RECEIPT)
    lengths = [backend.complete([backends.Request(messages, schema, more=n)])[0] for n in (0, 30, 5000)]
    assert [answer.completion_tokens for answer in lengths[:2]] == [48, 78]
    assert lengths[2].completion_tokens == backend.llm.n_ctx() - lengths[2].prompt_tokens


# --- lists that are written in circles -----------------------------------------------------------------------

LIST = {"type": "array", "items": {"type": "string", "enum": ["Tea"]}, "maxItems": 30}
CIRCLING = {"type": "object", "properties": {"rows": LIST, "end": {"type": "string", "enum": ["x"]}}}
CIRCLING |= {"required": ["rows", "end"], "additionalProperties": False}


def circling(times):
    """Whoever answers this writes a list of one entry. The text that is asked about prints it so many times."""
    messages = prompts.messages(schemas.RECEIPT, RECEIPT)
    return backends.Request(messages, CIRCLING, more=900, asked_about="Tea\n" * times)


def test_a_list_in_circles_is_closed_and_what_follows_it_is_written(tiny_cfg):
    """By the tiny model, made to close no list by itself; all answers of a batch are written together."""
    import torch

    backend = choice.choose(tiny_cfg, "base").open()
    pieces = [backend.matcher_tokenizer.decode_bytes([n]) for n in range(backend.matcher_tokenizer.vocab_size)]
    closing = torch.tensor([n for n, piece in enumerate(pieces) if b"]" in piece])
    backend.model.lm_head.register_forward_hook(lambda layer, _, scores: scores.index_fill_(-1, closing, -1e4))
    narrowed = {**CIRCLING, "properties": {**CIRCLING["properties"], "rows": {**LIST, "maxItems": 29}}}
    requests = [
        circling(1),
        replace(circling(1), narrowed=narrowed),
        circling(30),
        replace(circling(1), asked_about=""),
    ]
    answers = backend.complete(requests)
    records = [json.loads(answer.text) for answer in answers]
    assert [record["end"] for record in records] == ["x"] * 4
    lengths = [len(record["rows"]) for record in records]
    assert 14 <= lengths[0] == lengths[1] <= 24 and lengths[2:] == [30, 30]
    assert answers[0].completion_tokens < answers[2].completion_tokens - 20


def test_llama_cpp_closes_a_list_in_circles_too(tiny_gguf):
    """The scores are those of a model that never closes a list by itself."""
    import numpy

    backend = choice.choose(tiny_gguf, "base-gguf").open()
    tokenizer = backend.tokenizer
    pieces = [tokenizer.decode_bytes([n]) for n in range(tokenizer.vocab_size)]
    scores = numpy.array([-1.0 if b"]" in piece else 1.0 for piece in pieces], dtype=numpy.float32)
    lengths = []
    for times in (1, 30):
        answer = backends.Answer([1], circling(times), tokenizer, -1, 900)
        while answer.take(scores) is not None:
            pass
        record = json.loads(tokenizer.decode_bytes(answer.tokens))
        assert record["end"] == "x"
        lengths.append(len(record["rows"]))
    assert 14 <= lengths[0] <= 24 and lengths[1] == 30
