"""A server that answers prompts: Ollama by its own API, and any other by the API of OpenAI's chat completions.

Ollama cuts a prompt that is too long without saying so, unless its own API is told not to. Of any other server the
number of prompt tokens that it reports is compared with what the text must have.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cached_property
from typing import Any
from urllib.parse import unquote, urlsplit

from extraction import files
from extraction.models import confidence
from extraction.models.backends import Completion, Done, OneByOne, Request

RETRY_WAITS = (0.5, 1, 2, 4, 8, 15, 30)  # seconds before asking again a server that is busy, failing or restarting
OLDEST_OLLAMA = (0, 13)  # earlier ones may not know "truncate", and cut in silence
LONG_PROMPT = 4000  # bytes; every server has room for fewer, so that nothing is cut
CUT = 0.66  # a server that read a smaller share of a prompt has cut it; what is cut is at least a half
OPTIONAL = ("logprobs", "chat_template_kwargs")  # of a request: what a server may refuse
SAID = 200  # characters of a server's own words that are passed on


def without_login(model: str) -> str:
    """A model as it may be shown: of a server's address, without user and password."""
    return re.sub(r"^(https?://)[^/]*@", r"\1", model)


class HttpBackend(OneByOne):
    """A server at an address such as `http://127.0.0.1:11434/v1#doc-intel`; what follows `#` picks the model.

    `parallel` requests are under way at once, of one document or of several. The key is read from the environment
    variable `api_key_env`, and from there alone.
    """

    def __init__(
        self,
        url: str,
        max_new_tokens: int,
        context_tokens: int,
        timeout: float,
        api_key_env: str = "OPENAI_API_KEY",
        parallel: int = 1,
    ):
        address, _, self.model = url.partition("#")
        login = urlsplit(address)
        user = (unquote(login.username), unquote(login.password or "")) if login.username else None
        self.auth = user or _bearer(os.environ.get(api_key_env))
        self.url = without_login(address).rstrip("/")
        self.root = self.url.removesuffix("/v1")
        self.name = self.model or self.url
        self.max_new_tokens = max_new_tokens
        self.context_tokens = context_tokens
        self.timeout = timeout
        self.has_answered = False
        self.refused: set[str] = set()  # parts of a request that this server does not take
        self.threads = ThreadPoolExecutor(parallel) if parallel > 1 else None

    # --- which server it is ----------------------------------------------------------------------------------

    @cached_property
    def is_ollama(self) -> bool:
        """Whether an Ollama answers at the address. Raises StageError (status 3) for none, and for one that is old."""
        import requests

        try:
            reply = requests.get(f"{self.root}/api/version", auth=self.auth, timeout=min(self.timeout, 10))
            version = str(reply.json()["version"]) if reply.status_code == 200 else ""
        except requests.Timeout:
            return False
        except requests.ConnectionError as error:
            raise files.StageError(f"no server answers at {self.url}", status=3) from error
        except (requests.RequestException, ValueError, KeyError, TypeError):
            return False
        numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
        if (0, 0) < numbers < OLDEST_OLLAMA:  # one built from its source says 0.0.0
            oldest = ".".join(map(str, OLDEST_OLLAMA))
            message = f"Ollama {version} at {self.root} cuts long prompts without saying so: use {oldest} or newer"
            raise files.StageError(message, status=3)
        return len(numbers) == 2

    def models(self) -> list[str]:
        """The names of its models. Raises requests.RequestException, ValueError, KeyError or TypeError if it tells
        none."""
        import requests

        path = f"{self.root}/api/tags" if self.is_ollama else f"{self.url}/models"
        reply = requests.get(path, auth=self.auth, timeout=10)
        reply.raise_for_status()
        return [entry["name"] for entry in reply.json()["models"]] if self.is_ollama else [
            str(entry["id"]) for entry in reply.json()["data"]
        ]  # fmt: skip

    @cached_property
    def context(self) -> int:
        """Tokens of prompt and answer: of an Ollama model as it was made, else those of the settings.

        Ollama loads a model again for another number, so it is the same in every request.
        """
        if not self.is_ollama:
            return self.context_tokens
        if not self.model:
            raise files.StageError(f"which model of {self.root}? Write --model {self.root}#NAME", status=3)
        status, found = self._post(f"{self.root}/api/show", {"model": self.model})
        if status != 200:
            do = f"Run: ollama create {self.model} -f Modelfile" if status == 404 else "see its log"
            raise files.StageError(f"{self.root}: {_words(found, '') or f'status {status}'}. {do}", status=3)
        made = re.search(r"^num_ctx\s+(\d+)", str(found.get("parameters") or ""), re.M)
        trained = [v for k, v in (found.get("model_info") or {}).items() if k.endswith(".context_length")]
        return int(made[1]) if made else min([self.context_tokens, *map(int, trained)])

    @property
    def prompt_limit(self) -> int:
        """Tokens that a prompt may have."""
        return self.context - self.max_new_tokens

    def count(self, text: str) -> int:
        return len(text) // 2  # on the safe side: amounts take about two characters a token

    # --- asking ----------------------------------------------------------------------------------------------

    def complete(self, requests: Sequence[Request], done: Done = lambda *_: None) -> list[Completion]:
        """The answers in the order of the requests; `done` is called with the number of each and the answer."""
        if self.threads is None:
            return super().complete(requests, done)
        futures = [self.threads.submit(self._complete, request) for request in requests]
        try:
            for future in as_completed(futures):
                done(futures.index(future), future.result())
        finally:
            for future in futures:
                future.cancel()
        return [future.result() for future in futures]

    def _complete(self, request: Request) -> Completion:
        started = time.monotonic()
        asked = "\n".join(message["content"] for message in request.messages)
        try:
            status, found = self._ollama(request) if self.is_ollama else self._openai(request)
        except _Late:
            return Completion("", error=f"no answer from {self.url} within {self.timeout:g} s")
        if status != 200:
            words = _words(found, asked)
            odd = status == 404 and not self.is_ollama and not self.url.endswith("/v1")
            hint = "; should the address end in /v1?" if odd else ""
            return Completion("", error=f"{self.url} answered with status {status}{words and ': '}{words}{hint}")
        answer = _ollama_answer(found) if self.is_ollama else _openai_answer(found)
        if answer is None:
            return Completion("", error=f"{self.url} answered with something that is not a chat completion")
        raw, prompt_tokens, completion_tokens, logprobs = answer
        if not self.is_ollama and (cut := self._cut(request, asked, prompt_tokens)):
            return Completion("", prompt_tokens, error=cut)
        text = json_part(raw)
        sure = told_confidences(text, raw, logprobs)
        seconds = time.monotonic() - started
        return Completion(text, prompt_tokens, completion_tokens, seconds, confidences=sure)

    def _ollama(self, request: Request) -> tuple[int, Any]:
        options = {"num_ctx": self.context, "num_predict": self._most(request), "temperature": 0}
        body = {"model": self.model, "messages": request.messages, "format": request.enforced, "options": options}
        body |= {"stream": False, "think": False, "truncate": False, "shift": False, "logprobs": True}
        return self._post(f"{self.root}/api/chat", body)

    def _openai(self, request: Request, max_tokens: int | None = None) -> tuple[int, Any]:
        body = {
            "messages": request.messages,
            "temperature": 0,
            "max_tokens": max_tokens or self._most(request),
            "stream": False,
            "logprobs": True,
            "chat_template_kwargs": {"enable_thinking": False},
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": request.enforced},
            },
        } | ({"model": self.model} if self.model else {})
        for _ in range(1 + len(OPTIONAL)):
            kept = {name: value for name, value in body.items() if name not in self.refused}
            status, found = self._post(f"{self.url}/chat/completions", kept)
            named = {name for name in OPTIONAL if status in (400, 422) and name in kept and name in str(found)}
            if not named:
                break
            self.refused |= named
        return status, found

    def _most(self, request: Request) -> int:
        """Tokens that the answer may have: no more than surely fit, since a server may refuse a longer one."""
        room = self.context - sum(self.count(message["content"]) for message in request.messages)
        return max(self.max_new_tokens, min(self.max_new_tokens + request.more, room))

    def _post(self, url: str, body: dict) -> tuple[int, Any]:
        """Status and JSON of a reply; the text where it is no JSON. Raises StageError if no server is there."""
        import requests

        for wait in (*RETRY_WAITS, None):
            try:
                reply = requests.post(url, json=body, auth=self.auth, timeout=self.timeout)
            except requests.Timeout as error:
                raise _Late from error
            except requests.ConnectionError as error:
                if not self.has_answered or wait is None:  # a server that was there may be starting again
                    raise files.StageError(f"no server answers at {self.url}", status=3) from error
            else:
                self.has_answered = True
                if wait is None or (reply.status_code != 429 and reply.status_code < 500):
                    break
            time.sleep(wait)
        try:
            return reply.status_code, reply.json()
        except ValueError:
            return reply.status_code, reply.text

    # --- was all of it read? ---------------------------------------------------------------------------------

    def _cut(self, request: Request, asked: str, prompt_tokens: int | None) -> str | None:
        """Why the answer cannot be used, if the server seems to have read only a part of the prompt.

        How many tokens a text has in a tokenizer that is not known, a sample of it tells: the server counts it too.
        """
        size = len(asked.encode())
        if size <= LONG_PROMPT:
            return None
        if prompt_tokens is None:
            print(f"{self.url} does not say how many tokens it read: it may cut long prompts", file=sys.stderr)
            return None
        system, text = request.messages[:-1], request.messages[-1]["content"]
        step = len(text) // 8
        sample = "".join(text[start : start + 150] for start in range(0, step * 8, step))
        messages = [*system, {**request.messages[-1], "content": sample}]
        status, found = self._openai(Request(messages, request.schema), max_tokens=1)
        counted = _openai_answer(found)[1] if status == 200 and _openai_answer(found) else None
        shorter = len("".join(message["content"] for message in messages).encode())
        expected = round((counted or 0) * size / shorter)
        if prompt_tokens >= CUT * expected:
            return None
        return (
            f"{self.url} read {prompt_tokens} of about {expected} tokens and left out the rest without saying so. "
            "Give its model a larger context, or set inference.context_tokens to the one it has"
        )


class _Late(Exception):
    """No answer within the time."""


def _bearer(key: str | None) -> Callable[[Any], Any] | None:
    def sign(request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {key}"
        return request

    return sign if key else None


def _openai_answer(found: Any) -> tuple[str, int | None, int | None, Any] | None:
    """Text, tokens of prompt and answer, and log-probabilities; None for what is no chat completion."""
    try:
        choice = found["choices"][0]
        content = choice["message"]["content"] or ""
        if isinstance(content, list):
            content = "".join(part.get("text") or "" for part in content)
        usage = found.get("usage") or {}
        told = (choice.get("logprobs") or {}).get("content")
        return str(content), usage.get("prompt_tokens"), usage.get("completion_tokens"), told
    except (KeyError, IndexError, TypeError, AttributeError):
        return None


def _ollama_answer(found: Any) -> tuple[str, int | None, int | None, Any] | None:
    try:
        content = found["message"]["content"] or ""
        return content, found.get("prompt_eval_count"), found.get("eval_count"), found.get("logprobs")
    except (KeyError, TypeError, AttributeError):
        return None


def json_part(text: str) -> str:
    """The JSON of an answer that a model wrote behind its thoughts, in a code fence, or both."""
    text = re.sub(r"^.*</think>", "", text, flags=re.S).strip()
    if text.startswith(("{", "[")):
        return text
    fenced = re.search(r"```\w*\s*(.*?)\s*(?:```|$)", text, re.S)
    return fenced[1] if fenced else text


def _words(found: Any, asked: str) -> str:
    """What a server says is wrong, in one line of bounded length and without text of the prompt, which some repeat."""
    for name in ("error", "message", "detail"):
        found = found.get(name, found) if isinstance(found, dict) else found
    said = " ".join(str(found if isinstance(found, str) else "").split())
    asked = " ".join(asked.split())
    end = next((i for i in range(len(said) - 15) if said[i : i + 16] in asked), len(said))
    said = "".join(c for c in said[: min(end, SAID)] if c.isprintable())
    return said if end > len(said) - 1 and end <= SAID else f"{said.rstrip()} ..."


def told_confidences(text: str, raw: str, logprobs: Any) -> dict[str, float] | None:
    """The confidences from a server's log-probabilities, which are those of its model before any grammar; None where
    it tells none, or where they are of other tokens than those of the text."""
    try:
        told = [(token.get("bytes") or token["token"].encode(), float(token["logprob"])) for token in logprobs]
        pieces, choices = [bytes(piece) for piece, _ in told], [choice for _, choice in told]
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    before = len(raw[: raw.find(text)].encode())  # thoughts, a fence
    while pieces and before > 0:
        before -= len(pieces.pop(0))
        choices.pop(0)
    size = len(text.encode())
    while pieces and sum(map(len, pieces[:-1])) >= size:  # the marker that ended the answer
        pieces.pop(), choices.pop()
    return confidence.of_values(text, pieces, choices)
