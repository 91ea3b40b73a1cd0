"""extraction/models/http.py: what a server is asked, and what becomes of its answer."""

import json

import pytest

import config
import inference
from extraction import files
from extraction.evidence import printed
from extraction.models import choice, confidence
from extraction.models.backends import Request
from extraction.tasks import prompts, schemas
from tests.helpers.chat_server import chat

CFG = config.PROFILES["cpu"]
RECEIPT = "Corner Shop\nTea    2.00\nCake   3.50\nSUBTOTAL   5.50\nTAX  0.50\nTOTAL  6.00\nCASH  10.00\nCHANGE  4.00\n"
ASKED = Request([{"role": "user", "content": "x"}], {})


def backend_of(server, cfg=CFG, parallel=1, path="/v1#doc-intel"):
    return choice.choose(cfg, f"{server.root}{path}").open(parallel)


def answer_of(server, request=ASKED, **options):
    return backend_of(server, **options).complete([request])[0]


def with_total(messages, schema):
    """A model that tells the last line with a total in what it has read; nothing if that was cut away."""
    totals = [line.split()[-1] for line in messages[-1]["content"].splitlines() if line.startswith("TOTAL")]
    return 200, json.dumps({"total": totals[-1]} if totals else {})


# --- any server -------------------------------------------------------------------------------------------------


def test_a_server_is_asked_with_the_schema_and_without_thinking(server):
    server.replies = [(200, chat('{"total":"6.00"}'))]
    url = f"http://127.0.0.1:{server.server_port}/v1#doc-intel"
    result = inference.extract(RECEIPT.encode(), choice.choose(CFG, url).open(), CFG)
    assert result["record"]["total"] == "6.00" and result["model"] == "doc-intel"
    path, body = server.seen[0]
    assert path == "/v1/chat/completions"
    assert body["model"] == "doc-intel" and body["temperature"] == 0
    assert body["response_format"]["json_schema"]["schema"] == printed.narrowed(schemas.RECEIPT, RECEIPT)
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


def test_a_busy_server_is_asked_again(server):
    server.replies = [(503, "busy"), (429, "slow down"), (200, chat('{"total":"6.00"}'))]
    backend = backend_of(server)
    answer = backend.complete([ASKED])[0]
    assert (answer.text, answer.completion_tokens) == ('{"total":"6.00"}', 3)
    assert len(server.seen) == 3


@pytest.mark.parametrize("reply", [(400, "bad"), (200, "not json"), (200, '{"choices": []}')])
def test_a_server_that_fails_gives_an_error_for_the_document(server, reply):
    server.replies = [reply]
    backend = backend_of(server)
    answer = backend.complete([ASKED])[0]
    assert answer.error and not answer.text


def test_no_server_is_one_sentence_with_status_3():
    backend = choice.choose(CFG, "http://127.0.0.1:9/v1").open()
    with pytest.raises(files.StageError, match="no server answers") as error:
        backend.complete([ASKED])
    assert error.value.status == 3


@pytest.mark.parametrize("ended", [[], [{"token": "<|im_end|>", "logprob": -9.0}]])
def test_a_server_that_tells_probabilities_gives_confidences(server, ended):
    told = [{"token": '{"total":"', "logprob": -5.0}, {"token": "6€", "bytes": list("6€".encode()), "logprob": -0.5}]
    told += [{"token": '"}', "logprob": -0.25}, *ended]
    body = json.loads(chat('{"total":"6€"}'))
    body["choices"][0]["logprobs"] = {"content": told}
    server.replies = [(200, json.dumps(body))]
    backend = backend_of(server)
    answer = backend.complete([ASKED])[0]
    assert answer.confidences == {"total": pytest.approx(confidence.combined([-0.5, -0.25]))}
    assert server.seen[0][1]["logprobs"] is True


@pytest.mark.parametrize("logprobs", [None, {"content": None}, {"content": [{"token": "other", "logprob": -1}]}, []])
def test_probabilities_that_a_server_hides_or_that_are_of_another_text_give_none(server, logprobs):
    body = json.loads(chat('{"total":"6"}'))
    body["choices"][0]["logprobs"] = logprobs
    server.replies = [(200, json.dumps(body))]
    backend = backend_of(server)
    answer = backend.complete([ASKED])[0]
    assert (answer.text, answer.confidences) == ('{"total":"6"}', None)


@pytest.mark.parametrize(
    "content",
    [
        '```json\n{"total": "6.00"}\n```',
        '```\n{"total": "6.00"}',
        '<think>\nThe total is {"total": "9.00"}\n</think>\n\n{"total": "6.00"}',
        '<think>hm</think>```json\n{"total": "6.00"}\n```',
        'Here it is:\n```json\n{"total": "6.00"}\n```\nAnything else?',
        [{"type": "text", "text": '{"total": '}, {"type": "text", "text": '"6.00"}'}],
        '{"total": 6.00}',
    ],
)
def test_an_answer_in_a_fence_behind_thoughts_in_parts_or_with_a_number_is_read(server, content):
    server.replies = [(200, chat(content))]
    result = inference.extract(RECEIPT.encode(), backend_of(server), CFG)
    assert (result["record"]["total"], result["problems"]) == ("6.00", [])


def test_confidences_are_found_behind_thoughts_and_a_fence(server):
    told = ["<think>", "hm", "</think>\n", "```json\n", '{"total":"', "6.00", '"}', "\n```"]
    logprobs = {"content": [{"token": piece, "logprob": -0.5} for piece in told]}
    server.replies = [(200, chat("".join(told), logprobs=logprobs))]
    assert answer_of(server).confidences == {"total": pytest.approx(confidence.combined([-0.5, -0.5]))}


def test_a_number_that_should_be_a_text_has_no_confidence_and_takes_none_from_the_others(server):
    told = ['{"total":', "1", ',"cash":"', "10.00", '"}']
    logprobs = {"content": [{"token": piece, "logprob": -0.5} for piece in told]}
    server.replies = [(200, chat("".join(told), logprobs=logprobs))]
    assert answer_of(server).confidences == {"cash": pytest.approx(confidence.combined([-0.5, -0.5]))}


@pytest.mark.parametrize("refuses", [("logprobs",), ("chat_template_kwargs",), ("logprobs", "chat_template_kwargs")])
def test_what_a_server_refuses_is_left_out_from_then_on(server, refuses):
    server.refuses, server.replies = refuses, [(200, chat("{}"))]
    backend = backend_of(server)
    assert [answer.error for answer in backend.complete([ASKED, ASKED])] == [None, None]
    assert len(server.seen) == len(refuses) + 2
    assert not set(refuses) & set(server.seen[-1][1]) and "response_format" in server.seen[-1][1]


def test_the_servers_own_words_reach_the_row_but_no_text_of_the_document(server):
    server.replies = [(400, json.dumps({"error": {"message": "context length is 8192 tokens, the prompt has 9000"}}))]
    assert answer_of(server).error.endswith("status 400: context length is 8192 tokens, the prompt has 9000")
    request = Request(prompts.messages(schemas.RECEIPT, RECEIPT), schemas.RECEIPT.schema)
    server.replies = [(400, json.dumps({"detail": f"bad request: {request.messages} " + "why " * 200}))]
    said = answer_of(server, request).error
    assert "bad request" in said and "TOTAL" not in said and len(said) < 300
    server.replies = [(404, "<html>\x1b[31m" + "long " * 200)]
    assert len(answer_of(server).error) < 300 and "\x1b" not in answer_of(server).error


def test_a_key_comes_from_the_environment_and_is_sent_as_bearer(server, monkeypatch):
    server.replies = [(200, chat("{}"))]
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    answer_of(server)
    monkeypatch.setenv("OPENAI_API_KEY", "secret-1")
    answer_of(server)
    monkeypatch.setenv("MY_KEY", "secret-2")
    answer_of(server, cfg=config.override(CFG, "inference.api_key_env=MY_KEY"))
    assert [headers.get("Authorization") for headers in server.headers] == [None, "Bearer secret-1", "Bearer secret-2"]
    login = choice.choose(CFG, server.address.replace("//", "//ann:pw@")).open()
    login.complete([ASKED])
    assert server.headers[-1]["Authorization"].startswith("Basic ")


def test_an_address_without_v1_that_is_no_ollama_says_what_to_do(server):
    said = answer_of(server, path="").error
    assert "status 404: 404 page not found" in said and said.endswith("should the address end in /v1?")


def test_windows_of_one_document_are_asked_side_by_side(server):
    server.replies, server.delay = [(200, chat('{"clauses":{}}'))], 0.3
    text = "This Agreement is made between the parties hereto. Each party shall pay. " * 120
    seen = []
    result = inference.extract(
        text.encode(), backend_of(server, parallel=4), CFG, progress=lambda done, of: seen.append((done, of))
    )
    windows = len(server.seen)
    assert windows > 4 and server.most_under_way == 4 and result["document_type"] == "contract"
    assert seen == [(n, windows) for n in range(windows + 1)]


def test_answers_keep_the_order_of_their_requests_when_they_are_asked_side_by_side(server):
    server.answer = with_total
    requests = [Request([{"role": "user", "content": f"TOTAL {n}.00"}], {}) for n in range(20)]
    answers = backend_of(server, parallel=4).complete(requests)
    assert [json.loads(answer.text)["total"] for answer in answers] == [f"{n}.00" for n in range(20)]


# --- a server that cuts --------------------------------------------------------------------------------------


def page(line, number):
    return "\n".join(f"{line} {n}   {n * 7 % 90 + 10}.{n % 10}5" for n in range(40)) + f"\nTOTAL {number}.50\n"


KINDS = {"words": "Coffee with oat milk from the counter", "amounts": "1,234.50 88,120.05", "Greek": "Καφές ελληνικός"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pages", [1, 4, 20, 60])
@pytest.mark.parametrize("ollama", ["0.33.0-rc2", None])
def test_a_document_is_read_whole_or_refused_in_a_sentence(server, kind, pages, ollama):
    """Its first page alone tells the total that is right: a server that cut it away would tell another, or none."""
    server.answer, server.cuts, server.ollama, server.context, server.made_with = with_total, True, ollama, 4096, 4096
    text = page(KINDS[kind], 7).replace("TOTAL", "TOTAL first", 1) + "".join(page(KINDS[kind], 8) for _ in range(pages))
    server.answer = lambda messages, schema: (200, json.dumps({"total": str("TOTAL first" in messages[-1]["content"])}))
    request = Request(prompts.messages(schemas.RECEIPT, text), schemas.RECEIPT.schema)
    answer = answer_of(server, request)
    if answer.error is None:
        assert answer.text == '{"total": "True"}'
    else:
        assert "tokens" in answer.error and "\n" not in answer.error and answer.text == ""
    if pages >= 20:
        assert answer.error


def test_a_long_prompt_that_was_read_whole_is_not_called_cut(server):
    server.answer, server.cuts = with_total, True
    for line in KINDS.values():
        request = Request(prompts.messages(schemas.RECEIPT, page(line, 7) * 5), schemas.RECEIPT.schema)
        assert answer_of(server, request).error is None


# --- Ollama --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["#doc-intel", "/v1#doc-intel", "/#doc-intel"])
def test_an_ollama_is_asked_by_its_own_api_so_that_it_cuts_nothing(server, path):
    server.ollama, server.made_with, server.replies = "0.33.0-rc2", 8192, [(200, chat('{"total":"6.00"}'))]
    backend = backend_of(server, path=path)
    result = inference.extract(RECEIPT.encode(), backend, CFG)
    assert result["record"]["total"] == "6.00"
    way, body = server.seen[0]
    assert way == "/api/chat" and body["format"] == printed.narrowed(schemas.RECEIPT, RECEIPT)
    assert {name: body[name] for name in ("stream", "think", "truncate", "shift", "logprobs")} == {
        "stream": False,
        "think": False,
        "truncate": False,
        "shift": False,
        "logprobs": True,
    }
    tokens = CFG.inference.max_new_tokens
    assert body["options"] == {
        "num_ctx": 8192,
        "num_predict": tokens + len(RECEIPT.strip()),
        "temperature": 0,
    }
    assert backend.prompt_limit == 8192 - tokens and backend.models() == ["doc-intel:latest"]


def test_the_context_is_that_of_the_settings_where_the_model_was_made_without_one(server):
    server.ollama = "0.33.0"
    assert backend_of(server).context == CFG.inference.context_tokens


@pytest.mark.parametrize(
    ("version", "path", "sentence"),
    [
        ("0.33.0", "#nope", "model 'nope' not found. Run: ollama create nope -f Modelfile"),
        ("0.33.0", "", "Write --model .*#NAME"),
        ("0.9.2", "#doc-intel", "Ollama 0.9.2 at .* cuts long prompts without saying so: use 0.13 or newer"),
    ],
)
def test_an_ollama_without_the_model_or_too_old_is_one_sentence_with_status_3(server, version, path, sentence):
    server.ollama = version
    with pytest.raises(files.StageError, match=sentence) as error:
        answer_of(server, path=path)
    assert error.value.status == 3
