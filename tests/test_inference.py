import io
import json
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import config
import export_gguf
import inference
from extraction import confidence, documents, handoff, tasks

CFG = config.PROFILES["cpu"]
RECEIPT = "Corner Shop\nTea    2.00\nCake   3.50\nSUBTOTAL   5.50\nTAX  0.50\nTOTAL  6.00\nCASH  10.00\nCHANGE  4.00\n"


class Scripted:
    """A backend that answers with a function of the request; it counts as a server counts."""

    name = "scripted"
    prompt_limit = 1000

    def __init__(self, answer):
        self.answer, self.requests = answer, []

    def count(self, text):
        return len(text) // 2

    def complete(self, requests, done=lambda: None):
        self.requests += requests
        return [inference.Completion(self.answer(r.messages[1]["content"]), 1, 1, 0.1) for r in requests]


def test_a_receipt_becomes_a_record_with_nulls_a_summary_and_answers():
    def answer(text):
        return '{"answer":"6.00"}' if "Question:" in text else '{"line_items":[{"description":"Tea"}],"total":"6.00"}'

    result = inference.extract(RECEIPT.encode(), Scripted(answer), CFG, name="r.txt", questions=["What is the total?"])
    assert result["document_type"] == "receipt"
    assert result["record"]["total"] == "6.00"
    assert result["record"]["merchant"] is None
    assert result["record"]["line_items"][0]["amount"] is None
    assert result["summary"] == "Receipt with 1 line item, total 6.00."
    assert result["answers"] == [{"question": "What is the total?", "answer": "6.00"}]
    assert result["problems"] == []


def test_each_value_is_traced_and_checked_and_one_that_is_not_there_is_a_problem():
    answer = '{"merchant":{"name":"Harbor Bistro"},"line_items":[{"description":"Tea","amount":"2.00"}],"total":"6.00"'
    result = inference.extract(RECEIPT.encode(), Scripted(lambda _: answer + ',"cash":"10.00","change":"4.00"}'), CFG)
    fields = {f["path"]: f for f in result["fields"]}
    assert RECEIPT[slice(*fields["total"]["span"])] == "6.00" and fields["total"]["normalized"] == 6.0
    assert {f["grounding"] for path, f in fields.items() if path != "merchant.name"} == {"exact"}
    assert {"rule": "cash - change = total", "verdict": "holds"} in result["checks"]
    assert result["problems"] == ['merchant.name: "Harbor Bistro" was not found in the document']


def test_a_contract_is_read_in_windows_and_merged():
    text = (
        "This Agreement is made between the parties. " * 120
        + "It is governed by Ohio law. "
        + "Each party shall. " * 90
    )

    def answer(window):
        found = {"Document Name": ["This Agreement"]} if window.startswith("This") else {}
        if "Ohio law" in window:
            found["Governing Law"] = ["governed by Ohio law"]
        return json.dumps({"clauses": found})

    backend = Scripted(answer)
    result = inference.extract(text.encode(), backend, CFG)
    assert len(backend.requests) > 2
    assert result["document_type"] == "contract"
    assert result["record"]["clauses"]["Governing Law"] == ["governed by Ohio law"]
    assert result["record"]["clauses"]["Insurance"] is None
    assert set(result["record"]["clauses"]) == set(tasks.CLAUSES)


def test_an_answer_that_was_cut_off_is_kept_as_far_as_it_goes_and_reported():
    result = inference.extract(RECEIPT.encode(), Scripted(lambda _: '{"total":"6.00","cash":"10.'), CFG)
    assert result["record"]["total"] == "6.00"
    assert result["record"]["cash"] is None
    assert result["problems"] == ["the answer was cut off in answer.cash; what follows is missing"]


def test_an_unreadable_answer_gives_no_record_and_says_why():
    result = inference.extract(RECEIPT.encode(), Scripted(lambda _: "I cannot help"), CFG)
    assert result["record"] is None and result["summary"] is None
    assert result["problems"][0].startswith("not JSON")


def test_a_receipt_too_long_for_the_context_is_read_in_parts():
    text = "\n".join(f"Tea number {n}   2.00" for n in range(300)) + "\nTOTAL  600.00\nCASH 600.00"
    backend = Scripted(lambda t: json.dumps({"line_items": [{"description": t.split()[-1]}], "total": "600.00"}))
    result = inference.extract(text.encode(), backend, CFG, document_type="receipt")
    assert len(backend.requests) > 1
    assert len(result["record"]["line_items"]) == len(backend.requests)
    assert result["record"]["total"] == "600.00"


# --- real models ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_cfg(tiny_moe):
    items = [f"train.base_model={tiny_moe}", "inference.max_new_tokens=96", "inference.context_tokens=1024"]
    return config.read(config.parser(""), [a for item in items for a in ("--set", item)])[1]


def test_a_random_model_writes_only_records_under_the_grammar(tiny_cfg):
    """Nothing but the constraint makes this model write JSON: it is random."""
    backend = inference.open_backend(tiny_cfg, "base")
    requests = [
        inference.Request(tasks.messages(task, RECEIPT, "What?" if task is tasks.QUESTION else None), task.schema)
        for task in tasks.TASKS.values()
        for _ in range(2)
    ]
    answers = backend.complete(requests)
    for request, answer in zip(requests, answers, strict=True):
        task = next(t for t in tasks.TASKS.values() if t.schema == request.schema)
        reading = tasks.parse(task, answer.text)
        assert reading.record is not None, answer.text
        assert 0 < answer.completion_tokens <= 96


def test_answers_do_not_depend_on_the_batch_they_were_made_in(tiny_cfg):
    backend = inference.open_backend(tiny_cfg, "base")
    requests = [
        inference.Request(tasks.messages(tasks.QUESTION, RECEIPT * n, "What is the total?"), tasks.QUESTION.schema)
        for n in (1, 2, 1)
    ]
    together = [a.text for a in backend.complete(requests)]
    alone = [backend.complete([r])[0].text for r in requests]
    assert together[0] == together[2]
    assert together == alone


def test_a_prompt_over_the_context_is_an_error_and_not_an_answer(tiny_cfg):
    backend = inference.open_backend(tiny_cfg, "base")
    long = inference.Request(tasks.messages(tasks.RECEIPT, "word " * 3000), tasks.RECEIPT.schema)
    short = inference.Request(tasks.messages(tasks.RECEIPT, RECEIPT), tasks.RECEIPT.schema)
    first, second = backend.complete([long, short])
    assert "fit" in first.error and first.text == ""
    assert second.error is None and second.text.startswith("{")


# --- servers -------------------------------------------------------------------------------------------------


@pytest.fixture
def server():
    """A chat-completions server on loopback; `replies` holds (status, body) to give, the last one again and again."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.seen.append((self.path, json.loads(body)))
            status, reply = self.server.replies[min(len(self.server.seen), len(self.server.replies)) - 1]
            data = reply.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            """Keep the tests' output clean."""

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.seen, made.replies = [], []
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def chat(text):
    return json.dumps(
        {"choices": [{"message": {"content": text}}], "usage": {"prompt_tokens": 5, "completion_tokens": 3}}
    )


def test_a_server_is_asked_with_the_schema_and_without_thinking(server):
    server.replies = [(200, chat('{"total":"6.00"}'))]
    url = f"http://127.0.0.1:{server.server_port}/v1#doc-intel"
    result = inference.extract(RECEIPT.encode(), inference.open_backend(CFG, url), CFG)
    assert result["record"]["total"] == "6.00" and result["model"] == "doc-intel"
    path, body = server.seen[0]
    assert path == "/v1/chat/completions"
    assert body["model"] == "doc-intel" and body["temperature"] == 0
    assert body["response_format"]["json_schema"]["schema"] == tasks.RECEIPT.schema
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


def test_a_busy_server_is_asked_again(server):
    server.replies = [(503, "busy"), (429, "slow down"), (200, chat('{"total":"6.00"}'))]
    backend = inference.open_backend(CFG, f"http://127.0.0.1:{server.server_port}/v1")
    answer = backend.complete([inference.Request([{"role": "user", "content": "x"}], {})])[0]
    assert (answer.text, answer.completion_tokens) == ('{"total":"6.00"}', 3)
    assert len(server.seen) == 3


@pytest.mark.parametrize("reply", [(400, "bad"), (200, "not json"), (200, '{"choices": []}')])
def test_a_server_that_fails_gives_an_error_for_the_document(server, reply):
    server.replies = [reply]
    backend = inference.open_backend(CFG, f"http://127.0.0.1:{server.server_port}/v1")
    answer = backend.complete([inference.Request([{"role": "user", "content": "x"}], {})])[0]
    assert answer.error and not answer.text


def test_no_server_is_one_sentence_with_status_3():
    backend = inference.open_backend(CFG, "http://127.0.0.1:9/v1")
    with pytest.raises(handoff.StageError, match="no server answers") as error:
        backend.complete([inference.Request([{"role": "user", "content": "x"}], {})])
    assert error.value.status == 3


# --- the command ---------------------------------------------------------------------------------------------


def command(*arguments, data=None):
    return subprocess.run(
        [sys.executable, "inference.py", *map(str, arguments)], input=data, capture_output=True, cwd=config.ROOT
    )


def test_stdout_holds_one_json_object_and_everything_else_is_on_stderr(server, tmp_path):
    server.replies = [(200, chat('{"total":"6.00"}'))]
    url = f"http://127.0.0.1:{server.server_port}/v1"
    done = command("-", "--model", url, data=RECEIPT.encode())
    assert done.returncode == 0
    result = json.loads(done.stdout)
    assert result["file"] == "-" and result["record"]["total"] == "6.00"
    assert {"file", "document_type", "record", "summary", "answers", "problems", "pages", "timings"} <= set(result)


def test_a_folder_gives_json_lines_and_one_failed_document_does_not_stop_the_others(server, tmp_path):
    server.replies = [(200, chat('{"total":"6.00"}'))]
    for name, content in (("a.txt", RECEIPT), ("b.pdf", "%PDF-1.4 broken"), ("c.txt", RECEIPT), ("d.xyz", "other")):
        (tmp_path / name).write_text(content)
    done = command(tmp_path, "--model", f"http://127.0.0.1:{server.server_port}/v1")
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert ["error" in line for line in lines] == [False, True, False]
    assert lines[1]["error"] == "the PDF is broken"
    assert b"1 files of other kinds were passed over" in done.stderr


def test_an_output_file_is_resumed_and_a_cut_last_line_is_read_again(server, tmp_path):
    server.replies = [(200, chat('{"total":"6.00"}'))]
    url, out = f"http://127.0.0.1:{server.server_port}/v1", tmp_path / "out.jsonl"
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.txt").write_text(RECEIPT + name)
    names = [tmp_path / f"{name}.txt" for name in ("a", "b", "c")]
    assert command(*names[:2], "--model", url, "-o", out).returncode == 0
    assert len(server.seen) == 2
    whole = out.read_text()
    out.write_text(whole[: len(whole) - 30])
    assert command(*names, "--model", url, "-o", out).returncode == 0
    assert len(server.seen) == 4
    assert [Path(json.loads(line)["file"]).stem for line in out.read_text().splitlines()] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["absent.pdf"], 2, "absent.pdf does not exist"),
        (["README.md", "--model", "nothing.gguf"], 3, "not gguf, base-gguf, adapter, base, a .gguf file or a URL"),
        (["README.md", "--set", "output.dir=/nonexistent"], 3, "Run: python export_gguf.py"),
        (["README.md", "--model", "adapter", "--set", "output.dir=/nonexistent"], 3, "Run: python train_moe.py"),
        (["README.md", "-o", "/proc/nothing/out.jsonl"], 2, "cannot write"),
    ],
)
def test_what_is_missing_is_one_sentence_and_its_own_status(arguments, status, sentence):
    done = command(*arguments)
    assert done.returncode == status
    message = done.stderr.decode()
    assert sentence in message and "Traceback" not in message
    assert done.stdout == b""


def test_an_unreadable_single_document_has_status_4_and_needs_no_model(tmp_path):
    (tmp_path / "empty.pdf").write_bytes(b"")
    done = command(tmp_path / "empty.pdf", "--set", "output.dir=/nonexistent")
    assert done.returncode == 4
    assert b"the file is empty" in done.stderr


def test_limits_of_the_settings_reach_the_reader():
    cfg = config.override(CFG, "inference.max_text_chars=100")
    result = inference.extract(RECEIPT.encode() * 5, Scripted(lambda _: "{}"), cfg)
    assert "only the first 100" in result["problems"][0]
    with pytest.raises(documents.DocumentError):
        inference.extract(io.BytesIO(b"\x00\x01").getvalue(), Scripted(lambda _: "{}"), cfg)


# --- confidences ---------------------------------------------------------------------------------------------


class Sure(Scripted):
    """Answers whose values have these confidences."""

    def __init__(self, answer, confidences):
        super().__init__(answer)
        self.confidences = confidences

    def complete(self, requests, done=lambda: None):
        return [replace(answer, confidences=self.confidences) for answer in super().complete(requests, done)]


def test_each_field_has_its_confidence_and_says_whether_it_is_calibrated():
    backend = Sure(lambda _: '{"total":"6.00","cash":"10.00"}', {"total": 0.5, "cash": 0.25})
    raw = inference.extract(RECEIPT.encode(), backend, CFG)
    assert {f["path"]: f["confidence"] for f in raw["fields"]} == {"total": 0.5, "cash": 0.25}
    assert raw["confidences"] == "not calibrated"
    backend.calibration = confidence.Calibration({"all": [[0.0, 0.0], [1.0, 0.5]]})
    found = inference.extract(RECEIPT.encode(), backend, CFG)
    assert {f["path"]: f["confidence"] for f in found["fields"]} == {"total": 0.25, "cash": 0.125}
    assert found["confidences"] == "calibrated"


def test_a_backend_without_probabilities_gives_no_confidence():
    result = inference.extract(RECEIPT.encode(), Scripted(lambda _: '{"total":"6.00"}'), CFG)
    assert [f["confidence"] for f in result["fields"]] == [None] and result["confidences"] is None


@pytest.mark.parametrize("ended", [[], [{"token": "<|im_end|>", "logprob": -9.0}]])
def test_a_server_that_tells_probabilities_gives_confidences(server, ended):
    told = [{"token": '{"total":"', "logprob": -5.0}, {"token": "6€", "bytes": list("6€".encode()), "logprob": -0.5}]
    told += [{"token": '"}', "logprob": -0.25}, *ended]
    body = json.loads(chat('{"total":"6€"}'))
    body["choices"][0]["logprobs"] = {"content": told}
    server.replies = [(200, json.dumps(body))]
    backend = inference.open_backend(CFG, f"http://127.0.0.1:{server.server_port}/v1")
    answer = backend.complete([inference.Request([{"role": "user", "content": "x"}], {})])[0]
    assert answer.confidences == {"total": pytest.approx(confidence.combined([-0.5, -0.25]))}
    assert server.seen[0][1]["logprobs"] is True


@pytest.mark.parametrize("logprobs", [None, {"content": None}, {"content": [{"token": "other", "logprob": -1}]}, []])
def test_probabilities_that_a_server_hides_or_that_are_of_another_text_give_none(server, logprobs):
    body = json.loads(chat('{"total":"6"}'))
    body["choices"][0]["logprobs"] = logprobs
    server.replies = [(200, json.dumps(body))]
    backend = inference.open_backend(CFG, f"http://127.0.0.1:{server.server_port}/v1")
    answer = backend.complete([inference.Request([{"role": "user", "content": "x"}], {})])[0]
    assert (answer.text, answer.confidences) == ('{"total":"6"}', None)


QUESTION = inference.Request(tasks.messages(tasks.QUESTION, RECEIPT, "What is the total?"), tasks.QUESTION.schema)


def test_confidences_are_the_models_own_probabilities_among_what_the_grammar_allows(tiny_cfg):
    """Of an answer of the tiny model, computed anew without the logits processor, token by token."""
    import llguidance
    import numpy
    import torch

    backend = inference.open_backend(tiny_cfg, "base")
    answer = backend.complete([QUESTION])[0]
    prompt = backend.tokenizer.apply_chat_template(QUESTION.messages, tokenize=False, add_generation_prompt=True)
    start = backend.tokenizer(prompt, add_special_tokens=False)["input_ids"]
    matcher = llguidance.LLMatcher(backend.matcher_tokenizer, inference.grammar(QUESTION.schema))
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


def test_both_backends_give_the_same_confidences(tiny_moe, tmp_path, monkeypatch):
    import llama_cpp

    items = [f"train.base_model={tiny_moe}", f"output.dir={tmp_path}", "export.quantization=F32"]
    items += ["inference.quantization=F32", "inference.max_new_tokens=48", "inference.context_tokens=1024"]
    arguments = [a for item in items for a in ("--set", item)]
    assert export_gguf.main(["--base-only", *arguments]) == 0
    exact = {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32}  # the cache, as transformers has it
    monkeypatch.setattr(llama_cpp, "Llama", partial(llama_cpp.Llama, **exact))
    cfg = config.read(config.parser(""), arguments)[1]
    requests = [inference.Request(tasks.messages(t, RECEIPT), t.schema) for t in (tasks.RECEIPT, tasks.CONTRACT)]
    ours, others = (inference.open_backend(cfg, name).complete([*requests, QUESTION]) for name in ("base-gguf", "base"))
    assert [answer.text for answer in ours] == [answer.text for answer in others]
    assert sum(len(answer.confidences) for answer in ours) > 0
    for answer, other in zip(ours, others, strict=True):
        assert answer.confidences == pytest.approx(other.confidences, rel=0.01)
