"""The Modelfile says what config.py and extraction/tasks say; its Go template renders what the Jinja one does."""

import re
from pathlib import Path

import pytest

import config
import export_gguf
from extraction.tasks import prompts, schemas
from tests.helpers import qwen2_tokens

CPU, GPU = config.PROFILES["cpu"], config.PROFILES["gpu"]
# What Ollama accepts, by type; any other name makes `ollama create` fail.
PARAMETERS = {
    **dict.fromkeys("num_keep seed num_predict top_k repeat_last_n num_ctx num_batch num_gpu num_thread".split(), int),
    **dict.fromkeys(
        "top_p min_p typical_p temperature repeat_penalty presence_penalty frequency_penalty".split(), float
    ),
    "stop": str,
}
SYSTEM = {"role": "system", "content": "Extract.\nReturn JSON."}
CONVERSATIONS = [
    [{"role": "user", "content": "hi"}],
    [SYSTEM, {"role": "user", "content": '  a {{ b }} "q" caf\u00e9\n\n'}],
    [SYSTEM, {"role": "user", "content": "a"}, {"role": "assistant", "content": '{"x":1}'}],
    [
        SYSTEM,
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": '{"x":1}'},
        {"role": "user", "content": "b\n"},
    ],
    prompts.messages(schemas.RECEIPT, "TEA   2.00\nTOTAL 2.00"),
]


COMMAND = re.compile(
    r"""\#[^\n]*\n | (FROM|TEMPLATE|SYSTEM|PARAMETER|LICENSE)[ ] (?: \"{3}(.*?)\"{3} | ([^"\n][^\n]*) ) \n""",
    re.S | re.X,
)


def commands(text):
    """The commands of a Modelfile as (name, value), read strictly: comments, quoted and bare values."""
    found, rest = [], text
    while rest:
        match = COMMAND.match(rest)
        assert match, f"not a command: {rest[:60]!r}"
        if match[1]:
            found.append((match[1], match[2] if match[2] is not None else match[3]))
        rest = rest[match.end() :]
    return found


def parameters(text):
    return [value.split(" ", 1) for name, value in commands(text) if name == "PARAMETER"]


def value_of(text, name):
    values = [value for found, value in commands(text) if found == name]
    assert len(values) == 1
    return values[0]


# --- the part of Go's text/template that the Modelfile uses ---


def pieces(template):
    """Texts and actions in turn, with the blanks cut that `{{-` and `-}}` cut."""
    found, position, trim = [], 0, False
    for match in re.finditer(r"\{\{(- )?(.*?)( -)?\}\}", template, re.S):
        text = template[position : match.start()]
        text = text.lstrip() if trim else text
        found.append(("text", text.rstrip() if match[1] else text))
        found.append(("action", match[2].strip()))
        position, trim = match.end(), bool(match[3])
    text = template[position:]
    return [*found, ("text", text.lstrip() if trim else text)]


def holds(condition, data):
    words = condition.split()
    if words[0] == "eq":
        return data[words[1].removeprefix(".")] == words[2].strip('"')
    return bool(data[condition.removeprefix(".")])


def render(parts, data):
    """Consume parts up to the `end` or `else` that closes them. Returns the text and that action."""
    out = ""
    while parts:
        kind, content = parts.pop(0)
        if kind == "text":
            out += content
        elif content == "end" or content.startswith("else"):
            return out, content
        elif content.startswith("range "):
            body = list(parts)
            for item in data[content.removeprefix("range .")]:
                parts[:] = body
                out += render(parts, item)[0]
        elif content.startswith("if "):
            action, chosen = content, False
            while action != "end":
                true = not chosen and (
                    action == "else" or holds(action.removeprefix("else ").removeprefix("if "), data)
                )
                text, action = render(parts, data)
                out, chosen = out + (text if true else ""), chosen or true
        else:
            out += data[content.removeprefix(".")]
    return out, None


def go(template, messages):
    data = {
        "System": "\n\n".join(m["content"] for m in messages if m["role"] == "system"),
        "Messages": [{"Role": m["role"], "Content": m["content"]} for m in messages],
    }
    return render(pieces(template), data)[0]


def jinja(template, messages):
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(messages=messages, add_generation_prompt=True)


# --- the tests ---


def test_the_committed_modelfile_is_what_the_export_writes(tmp_path):
    written = export_gguf.write_repository_modelfile(CPU, tmp_path / "Modelfile")
    assert Path("Modelfile").read_bytes() == written.read_bytes(), "run: python export_gguf.py --modelfile"


def test_the_committed_modelfile_names_the_file_that_the_export_makes():
    path = config.ROOT / value_of(Path("Modelfile").read_text(encoding="utf-8"), "FROM")
    assert path == CPU.gguf_file(CPU.export.quantization[0])
    assert path == CPU.gguf_file(CPU.inference.quantization)
    for page in ("deploy/README.md", "deploy/compose.yaml"):
        assert set(re.findall(r"doc-intel-\w+\.gguf", Path(page).read_text(encoding="utf-8"))) == {path.name}, page


def test_prompt_and_decoding_are_those_of_tasks_and_config():
    text = Path("Modelfile").read_text(encoding="utf-8")
    assert value_of(text, "SYSTEM") == schemas.GENERAL.instructions
    values = dict(parameters(text))
    assert int(values["num_ctx"]) == CPU.export.num_ctx
    assert int(values["num_predict"]) == CPU.export.num_predict
    beginning = f"<|im_start|>system\n{schemas.GENERAL.instructions}<|im_end|>\n"
    tokens = qwen2_tokens.tokenizer()(beginning)["input_ids"]  # 75, of the whole tokenizer 56
    assert len(tokens) <= int(values["num_keep"]) < 1.5 * len(tokens)
    assert float(values["temperature"]) == 0
    assert float(values["repeat_penalty"]) == 1  # anything above spoils numbers that repeat
    assert [value for name, value in parameters(text) if name == "stop"] == ['"<|im_end|>"', '"<|endoftext|>"']


@pytest.mark.parametrize(("cfg", "model_type"), [(CPU, "qwen2_moe"), (GPU, "qwen3_moe")])
def test_every_parameter_is_one_that_ollama_knows(cfg, model_type):
    for name, value in parameters(export_gguf.modelfile(cfg, model_type, "./x.gguf")):
        PARAMETERS[name](value)


@pytest.mark.parametrize("model_type", ["qwen2_moe", "qwen3_moe"])
@pytest.mark.parametrize("messages", CONVERSATIONS, ids=lambda messages: f"{len(messages)} messages")
def test_the_go_template_renders_what_the_chat_template_does(model_type, messages):
    template = value_of(export_gguf.modelfile(CPU, model_type, "./x.gguf"), "TEMPLATE")
    assert go(template, messages) == jinja(prompts.chat_template(model_type), messages)


def test_only_a_model_that_was_trained_with_an_empty_thinking_block_gets_one():
    assert "think" not in Path("Modelfile").read_text(encoding="utf-8")
    assert value_of(export_gguf.modelfile(GPU, "qwen3_moe", "./x.gguf"), "TEMPLATE").endswith("<think>\n\n</think>\n\n")


@pytest.mark.parametrize("model_type", ["qwen2_moe", "qwen3_moe"])
def test_ollama_does_not_take_the_chat_template_for_one_that_thinks_or_calls_tools(model_type):
    template = prompts.chat_template(model_type)
    for trap in ("<think>", "</think>", "tools", "tool_call"):
        assert trap not in template
