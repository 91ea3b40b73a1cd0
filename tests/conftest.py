import os

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before llama_cpp is imported: threads that wait must not spin
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def tiny_moe(tmp_path_factory):
    """The folder of a tiny random Qwen3 mixture of experts with its tokenizer."""
    import tiny_moe as builder

    folder = tmp_path_factory.mktemp("tiny_moe")
    builder.build(folder)
    return folder
