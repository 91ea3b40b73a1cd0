"""A GGUF build on a GPU in this process. What needs no GPU: what would go where, and that llama.cpp takes it."""

import re

import pytest

from extraction import files
from extraction.export import gguf_build
from extraction.models import fit, gpu


def test_experts_of_the_first_layers_are_kept_on_the_cpu_when_a_build_is_loaded(tiny_gguf):
    import llama_cpp

    def kept(layers):
        with gguf_build.llama_log() as lines, gpu.experts_on_cpu(layers):
            llm = llama_cpp.Llama(str(tiny_gguf.base_gguf_dir / "doc-intel-base-F32.gguf"), n_ctx=64, verbose=False)
        llm.eval([1, 2, 3])
        llm.close()
        return re.findall(r"tensor (blk\.\d+\.\S+) .* overridden to CPU", "".join(lines))

    stacks = ("ffn_down_exps", "ffn_gate_exps", "ffn_up_exps")
    assert sorted(kept(2)) == [f"blk.{layer}.{name}.weight" for layer in (0, 1) for name in stacks]
    assert kept(0) == []


GIB = int(fit.GIB)
SIZES = fit.Sizes((GIB, GIB, GIB, GIB), 2 * GIB, 0)  # 6 GiB and 0.75 GiB to compute


@pytest.mark.parametrize(
    ("gib", "layers", "on_cpu", "sentence"),
    [
        (8.0, gpu.ALL, 0, ""),
        (5.0, gpu.ALL, 2, "5.0 GiB of the GPU are free: the experts of 2 of 4 layers stay on the CPU"),
        (2.0, 0, 0, "X.gguf needs 2.8 GiB of a GPU even with its experts on the CPU, and 2.0 are free: the CPU comp"),
        (0.0, 0, 0, "llama.cpp was built for a GPU and finds none: the CPU computes"),
    ],
)
def test_as_much_goes_to_the_gpu_as_its_free_memory_holds(gib, layers, on_cpu, sentence):
    found = gpu.advised("X.gguf", SIZES, 2048, gib)
    assert (found.layers, found.experts_on_cpu) == (layers, on_cpu)
    assert found.sentence.startswith(sentence) and bool(found.sentence) == bool(sentence)


def test_layers_of_a_build_go_to_a_gpu_if_llama_cpp_was_built_for_one(tiny_gguf, monkeypatch, capsys):
    import llama_cpp

    path = tiny_gguf.base_gguf_dir / "doc-intel-base-F32.gguf"
    assert [gpu.place(path, 512, wanted).layers for wanted in (None, 0)] == [0, 0]
    with pytest.raises(files.StageError, match=r"built without a GPU\. Run: CMAKE_ARGS=-DGGML_CUDA=on pip install"):
        gpu.place(path, 512, 12)
    monkeypatch.setattr(llama_cpp, "llama_supports_gpu_offload", lambda: True)
    assert [gpu.place(path, 512, wanted).layers for wanted in (0, 12)] == [0, 12]
    if gpu.free() == 0:
        gpu.say(gpu.place(path, 512, None))
        assert "finds none: the CPU computes" in capsys.readouterr().err
