import os

import hypothesis
import pytest

from tests.helpers import browser, chat_server

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before llama_cpp is imported: threads that wait must not spin
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

hypothesis.settings.register_profile("suite", derandomize=True)  # the same inputs each time; `make fuzz` looks for more
hypothesis.settings.load_profile("suite")


@pytest.fixture(scope="session")
def tiny_gguf(tiny_moe, tmp_path_factory):
    """Settings of a run with a GGUF build of the tiny model."""
    import config
    import export_gguf

    items = [f"train.base_model={tiny_moe}", f"output.dir={tmp_path_factory.mktemp('gguf')}"]
    items += ["export.quantization=F32", "inference.quantization=F32", "inference.max_new_tokens=48"]
    arguments = [a for item in [*items, "inference.context_tokens=1024"] for a in ("--set", item)]
    assert export_gguf.main(["--base-only", *arguments]) == 0
    return config.read(config.parser(""), arguments)[1]


@pytest.fixture(scope="session")
def tiny_moe(tmp_path_factory):
    """The folder of a tiny random Qwen3 mixture of experts with its tokenizer."""
    from tests.helpers import tiny_moe as builder

    folder = tmp_path_factory.mktemp("tiny_moe")
    builder.build(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_cfg(tiny_moe):
    """Settings under which the tiny model is the base model."""
    import config

    items = [f"train.base_model={tiny_moe}", "inference.max_new_tokens=96", "inference.context_tokens=1024"]
    return config.read(config.parser(""), [a for item in items for a in ("--set", item)])[1]


@pytest.fixture(scope="module")
def chromium():
    """A browser; each test opens pages of its own in it."""
    with browser.chromium() as opened:
        yield opened


@pytest.fixture
def server():
    """A chat-completions server that gives `replies`; see chat_server.running."""
    with chat_server.running() as made:
        yield made
