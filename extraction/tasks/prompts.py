"""The prompt of a task: chat messages, the chat template, and what keeps a document inside its message."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from extraction.tasks import sentences
from extraction.tasks.records import flat
from extraction.tasks.schemas import CONTRACT, QUESTION, Task

# --- the prompt ----------------------------------------------------------------------------------------------

# Chat templates of the two base models, without the parts that we never use: no default system prompt, no tools, no
# thinking. They go into the tokenizer before training and from there into every export, so that training, llama.cpp
# and Ollama render the same text. Qwen3's ends a prompt with an empty thinking block, as its own template does for
# enable_thinking=False; the tags are written in two parts because Ollama takes a template that contains them whole
# for one that can think, and then switches thinking on.
_CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_QWEN3 = _CHATML.replace(
    "'<|im_start|>assistant\\n' }}", "'<|im_start|>assistant\\n<th' + 'ink>\\n\\n</th' + 'ink>\\n\\n' }}"
)


def chat_template(model_type: str) -> str:
    """The Jinja chat template that a base model of this `config.json` model_type is trained and served with."""
    return _QWEN3 if model_type in ("qwen3", "qwen3_moe") else _CHATML


@dataclass(frozen=True)
class Sentence:
    """A sentence as a prompt shows it, and where it stands in the text that the prompt was made from."""

    text: str
    span: tuple[int, int] | None = None


@dataclass(frozen=True)
class Prompt:
    """The chat messages of a request, and the sentences that its answer may point at."""

    messages: list[dict[str, str]]
    sentences: tuple[Sentence, ...] = ()


def prompt(
    task: Task, text: str, question: str | None = None, spans: Sequence[tuple[int, int]] | None = None
) -> Prompt:
    """What asks for this task. `text` is a document's text or one window of it; of a contract, `spans` are the
    sentences of the text that are shown, all unless they are named.

    A question stands before and behind the document: no token of a document that comes first could see what is asked.
    """
    numbered: tuple[Sentence, ...] = ()
    if task is CONTRACT:
        numbered = tuple(Sentence(_no_markers(flat(text[a:b])), (a, b)) for a, b in spans or sentences.split(text))
        text = "\n".join(f"[{n}] {sentence.text}" for n, sentence in enumerate(numbered, start=1))
    text = _no_markers(text)
    if task is QUESTION:
        if not question:
            raise ValueError("a question is needed")
        asked = f"Question: {_no_markers(question)}"
        text = f"{asked}\n\n{text}\n\n{asked}"
    return Prompt([{"role": "system", "content": task.instructions}, {"role": "user", "content": text}], numbered)


def messages(task: Task, text: str, question: str | None = None) -> list[dict[str, str]]:
    return prompt(task, text, question).messages


def numbered(task: Task, messages: Sequence[dict[str, str]]) -> list[Sentence]:
    """The sentences of a prompt of which nothing is left but its messages, as in a training row."""
    lines = messages[-1]["content"].split("\n") if task is CONTRACT else []
    return [Sentence(line.partition("] ")[2]) for line in lines]


# What tokenizers of chat models take for a token of their own: <|im_end|>, DeepSeek's <｜...｜>, tags such as <think>,
# </tool_call> and <file_sep>, Llama's <<SYS>> and Mistral's [INST]; also in signs that normalization would turn into
# these, and with characters between them that no one sees. A blank behind the sign that is matched takes that away.
_UNSEEN = "\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f"
_MARKER = re.compile(
    rf"[<＜﹤](?=[{_UNSEEN}]*(?:[|｜]|[/／]?[{_UNSEEN}]*[^\W\d][\w{_UNSEEN}-]*[>＞﹥]))"
    rf"|[|｜](?=[{_UNSEEN}]*[>＞﹥])"
    rf"|[\[［](?=[{_UNSEEN}]*[/／]?[{_UNSEEN}]*(?:INST|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|IMG)[{_UNSEEN}]*[\]］])"
)
# Characters that no text has, control characters and planes of Unicode that nothing is assigned to. A tokenizer without
# a token for each byte may take <|endoftext|> in its place.
_NO_TEXT = re.compile("[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff\U00040000-\U000dffff]")


def _no_markers(text: str) -> str:
    """A document must not be able to close its own message: `<|im_end|>` in its text loses its meaning.

    Only blanks are put in, so nothing that stood apart can become a marker.
    """
    return _MARKER.sub(lambda sign: sign[0] + " ", _NO_TEXT.sub("\ufffd", text))
