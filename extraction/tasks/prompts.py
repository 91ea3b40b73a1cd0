"""The prompt of a task: chat messages, the chat template, and what keeps a document inside its message."""

from __future__ import annotations

import re

from extraction.tasks import sentences
from extraction.tasks.records import _flat
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


def messages(task: Task, text: str, question: str | None = None) -> list[dict[str, str]]:
    """The chat messages that ask for this task. `text` is a document's text or one window of it.

    The document comes first and the question last, so that several questions share the longest possible prefix.
    """
    if task is CONTRACT:
        text = "\n".join(f"[{n}] {_flat(text[a:b])}" for n, (a, b) in enumerate(sentences.split(text), start=1))
    text = _no_markers(text)
    if task is QUESTION:
        if not question:
            raise ValueError("a question is needed")
        text = f"{text}\n\nQuestion: {_no_markers(question)}"
    return [{"role": "system", "content": task.instructions}, {"role": "user", "content": text}]


# What tokenizers of chat models take for a token of their own: <|im_end|>, DeepSeek's <｜...｜>, tags such as <think>,
# </tool_call> and <file_sep>, Llama's <<SYS>> and Mistral's [INST]; also in signs that normalization would turn into
# these, and with characters between them that no one sees. A blank behind the sign that is matched takes that away.
_UNSEEN = "\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f"
_MARKER = re.compile(
    rf"[<＜﹤](?=[{_UNSEEN}]*(?:[|｜]|[/／]?[{_UNSEEN}]*[^\W\d][\w{_UNSEEN}-]*[>＞﹥]))"
    rf"|[|｜](?=[{_UNSEEN}]*[>＞﹥])"
    rf"|[\[［](?=[{_UNSEEN}]*[/／]?[{_UNSEEN}]*(?:INST|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|IMG)[{_UNSEEN}]*[\]］])"
)
# Characters that no text has, control characters and planes of Unicode that nothing is assigned to: SmolLM2's tokenizer
# has no token for some of their bytes and takes <|endoftext|> in its place.
_NO_TEXT = re.compile("[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff\U00040000-\U000dffff]")


def _no_markers(text: str) -> str:
    """A document must not be able to close its own message: `<|im_end|>` in its text loses its meaning.

    Only blanks are put in, so nothing that stood apart can become a marker.
    """
    return _MARKER.sub(lambda sign: sign[0] + " ", _NO_TEXT.sub("\ufffd", text))
