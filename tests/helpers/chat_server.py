"""A model server on loopback for tests of what asks one: chat completions, or an Ollama, which cuts as a real one does.

What it does was taken from a real Ollama (0.33): of a prompt that is longer than the context the first 4 tokens and the
last half of the context stay, and the number of prompt tokens is the only sign of it; its own API answers 400 instead
if the request says `"truncate": false`.
"""

import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def chat(text, **choice):
    """A chat completion as a server writes it; the server adds how many tokens the prompt has."""
    return json.dumps({"choices": [{"message": {"content": text}, **choice}], "usage": {"completion_tokens": 3}})


def tokens(text: str) -> list[str]:
    """A word of Latin letters is a token; so is each digit, sign and letter of another script."""
    return re.findall(r"\s?[A-Za-z]+|\s+|.", text, re.S)


class ChatServer(ThreadingHTTPServer):
    """What it answers: `replies`, as (status, body), the last one again and again; or else what `answer` gives."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, answer: Callable[[list[dict], dict], tuple[int, str]] | None = None, rate: float | None = None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.replies: list[tuple[int, str]] = []
        self.seen: list[tuple[str, dict]] = []  # what was asked
        self.headers: list[dict] = []
        self.delay = 0.0  # seconds before each answer
        self.rate = rate  # answers a second at most
        self.ollama: str | None = None  # its version, if it is one
        self.context = 1_000_000  # tokens
        self.made_with: int | None = None  # the num_ctx in the Modelfile of the model
        self.cuts = False  # prompts that are longer, without saying so; else it answers 400
        self.refuses: tuple[str, ...] = ()  # parts of a request that it does not know
        self.under_way = self.most_under_way = 0
        self.turn, self.due, self.started = threading.Lock(), itertools.count(), time.monotonic()

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def address(self) -> str:
        return f"{self.root}/v1"

    def handle_error(self, request, client_address):
        """A client that was stopped has hung up."""

    def wait(self) -> None:
        time.sleep(self.delay)
        if self.rate:
            with self.turn:
                left = self.started + next(self.due) / self.rate - time.monotonic()
            time.sleep(max(left, 0))

    def given(self, messages: list[dict], schema: dict, number: int) -> tuple[int, str]:
        if self.replies:
            return self.replies[min(number, len(self.replies)) - 1]
        status, text = self.answer(messages, schema)
        return status, chat(text) if status == 200 else json.dumps({"error": {"message": text}})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ChatServer

    def do_GET(self):
        made = self.server
        if made.ollama and self.path == "/api/version":
            self.reply(200, {"version": made.ollama})
        elif made.ollama and self.path == "/api/tags":
            self.reply(200, {"models": [{"name": "doc-intel:latest"}]})
        elif self.path == "/v1/models":
            self.reply(200, {"data": [{"id": "doc-intel"}]})
        else:
            self.reply(404, "404 page not found")

    def do_POST(self):
        made = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if made.ollama and self.path == "/api/show":
            self.show(body)
            return
        with made.turn:
            made.under_way += 1
            made.most_under_way = max(made.most_under_way, made.under_way)
            made.seen.append((self.path, body))
            made.headers.append(dict(self.headers))
            number = len(made.seen)
        try:
            made.wait()
            if self.path == "/v1/chat/completions":
                self.completion(body, number)
            elif made.ollama and self.path == "/api/chat":
                self.ollama_chat(body, number)
            else:
                self.reply(404, "404 page not found")
        finally:
            with made.turn:
                made.under_way -= 1

    def show(self, body):
        if body["model"] != "doc-intel":
            self.reply(404, {"error": f"model '{body['model']}' not found"})
            return
        parameters = "temperature                    0\n"
        if self.server.made_with:
            parameters += f"num_ctx                        {self.server.made_with}\n"
        self.reply(200, {"parameters": parameters, "model_info": {"llama.context_length": 8192}})

    def completion(self, body, number):
        refused = [name for name in self.server.refuses if name in body]
        if refused:
            self.reply(400, {"error": {"message": f"Unrecognized request argument supplied: {refused[0]}"}})
            return
        read, count = self.read(body["messages"], self.server.context)
        if count > self.server.context:
            said = f"This model's maximum context length is {self.server.context} tokens. Your prompt contains {count}"
            self.reply(400, {"error": {"message": said}})
            return
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
        status, text = self.server.given(read, schema, number)
        self.reply(status, with_count(text, count))

    def ollama_chat(self, body, number):
        context = body.get("options", {}).get("num_ctx") or self.server.made_with or 4096
        if body["model"] != "doc-intel":
            self.reply(404, {"error": f"model '{body['model']}' not found"})
            return
        whole = len(tokens("".join(message["content"] for message in body["messages"])))
        if whole > context and body.get("truncate") is False:
            said = f"request ({whole} tokens) exceeds the available context size ({context} tokens)"
            self.reply(400, {"error": said, "n_prompt_tokens": whole, "n_ctx": context})
            return
        read, count = self.read(body["messages"], context, cuts=True)
        status, text = self.server.given(read, body.get("format") or {}, number)
        content = json.loads(text)["choices"][0]["message"]["content"] if status == 200 else text
        found = {"message": {"role": "assistant", "content": content}, "done": True, "done_reason": "stop"}
        self.reply(status, found | {"prompt_eval_count": count, "eval_count": 3} if status == 200 else text)

    def read(self, messages, context, cuts=False):
        """What the model reads of the messages, and how many tokens the server says that they have."""
        whole = tokens("".join(message["content"] for message in messages))
        if len(whole) <= context or not (cuts or self.server.cuts):
            return messages, len(whole)
        left = whole[:4] + whole[2 - context // 2 :]
        return [{"role": "user", "content": "".join(left)}], len(left)

    def reply(self, status, value):
        data = (value if isinstance(value, str) else json.dumps(value)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        """Keep the tests' output clean."""


def with_count(text: str, count: int) -> str:
    """The body of a completion with the tokens of its prompt, where it does not tell them itself."""
    try:
        value = json.loads(text)
        value["usage"].setdefault("prompt_tokens", count)
    except (ValueError, KeyError, TypeError):
        return text
    return json.dumps(value)


@contextmanager
def running(answer: Callable | None = None, rate: float | None = None) -> Iterator[ChatServer]:
    """A server of its own; set what it does on it."""
    made = ChatServer(answer, rate)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        made.server_close()
        thread.join()
