"""A GGUF build on a GPU in this process: what fits into its free memory, and experts that stay on the CPU."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from extraction import files
from extraction.models import fit

ALL = -1  # layers, for llama.cpp
EXPERTS = r"blk\.{layer}\.ffn_(up|down|gate|gate_up)_(ch|)exps"  # as llama-server's --n-cpu-moe names them
GPU, SHARED_GPU = 1, 2  # ggml's kinds of devices: a card, or a GPU that shares the machine's memory
BATCH, GPU_BATCH = 512, 2048  # tokens of a prompt that are evaluated at a time; llama-server takes 2,048


@dataclass(frozen=True)
class Place:
    """Layers of a GGUF build that a GPU computes, layers whose experts stay on the CPU, and what there is to say."""

    layers: int
    experts_on_cpu: int = 0
    sentence: str = ""


def place(path: Path, context: int, wanted: int | None) -> Place:
    """Where a build goes: to the GPU if llama.cpp was built for one, as far as its free memory goes; or the `wanted`
    layers. Raises StageError for layers that are wanted there without a GPU."""
    import llama_cpp

    if llama_cpp.llama_supports_gpu_offload():
        return advised(path.name, fit.sizes(path), context, free()) if wanted is None else Place(wanted)
    if wanted:
        raise files.StageError(
            f"inference.gpu_layers={wanted}: the installed llama-cpp-python was built without a GPU. Run: "
            "CMAKE_ARGS=-DGGML_CUDA=on pip install --force-reinstall --no-deps --no-binary llama-cpp-python "
            f"llama-cpp-python=={llama_cpp.__version__}"
        )
    return Place(0)


def advised(name: str, sizes: fit.Sizes, context: int, gib: float) -> Place:
    """All layers, with experts on the CPU as `fit` advises for so much free memory; none if that is not enough."""
    if not gib:
        return Place(0, sentence="llama.cpp was built for a GPU and finds none: the CPU computes")
    advice = fit.advise(sizes, context, gib)
    if not advice.fits:
        needed = f"{name} needs {advice.used:.1f} GiB of a GPU even with its experts on the CPU, and {gib:.1f} are free"
        return Place(0, sentence=f"{needed}: the CPU computes. --set inference.gpu_layers=N puts N layers there")
    if not advice.layers_on_cpu:
        return Place(ALL)
    on_cpu = f"the experts of {advice.layers_on_cpu} of {len(sizes.experts)} layers stay on the CPU"
    return Place(ALL, advice.layers_on_cpu, f"{gib:.1f} GiB of the GPU are free: {on_cpu}")


def say(found: Place) -> None:
    if found.sentence:
        print(found.sentence, file=sys.stderr, flush=True)


def free() -> float:
    """GiB that are free on the GPUs that llama.cpp finds, together: it spreads the layers over them."""
    ggml, total = _ggml(), 0
    for number in range(ggml.ggml_backend_dev_count()):
        device = ggml.ggml_backend_dev_get(number)
        if ggml.ggml_backend_dev_type(device) in (GPU, SHARED_GPU):
            left, whole = ctypes.c_size_t(), ctypes.c_size_t()
            ggml.ggml_backend_dev_memory(device, ctypes.byref(left), ctypes.byref(whole))
            total += left.value
    return total / fit.GIB


@contextmanager
def experts_on_cpu(layers: int) -> Iterator[None]:
    """A model that is loaded within keeps the experts of its first layers on the CPU.

    llama-cpp-python's `Llama` has no argument for llama.cpp's list of tensors and the memory they go to, so the
    settings that it starts from get it.
    """
    from llama_cpp import llama_cpp

    class Override(ctypes.Structure):
        _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))

    cpu = _ggml().ggml_backend_cpu_buffer_type()
    listed = [Override(EXPERTS.format(layer=n).encode(), cpu) for n in range(layers)]
    overrides = (Override * (layers + 1))(*listed)  # the last one is empty and ends the list
    usual = llama_cpp.llama_model_default_params

    def with_overrides() -> llama_cpp.llama_model_params:
        params = usual()
        params.tensor_buft_overrides = ctypes.addressof(overrides)
        return params

    if layers:
        llama_cpp.llama_model_default_params = with_overrides
    try:
        yield
    finally:
        llama_cpp.llama_model_default_params = usual


def _ggml() -> ctypes.CDLL:
    """llama.cpp's library of devices, with the types of what is called here."""
    from llama_cpp._ggml import libggml

    libggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    libggml.ggml_backend_dev_get.argtypes, libggml.ggml_backend_dev_get.restype = [ctypes.c_size_t], ctypes.c_void_p
    libggml.ggml_backend_dev_type.argtypes, libggml.ggml_backend_dev_type.restype = [ctypes.c_void_p], ctypes.c_int
    sizes = ctypes.POINTER(ctypes.c_size_t)
    libggml.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, sizes, sizes]
    libggml.ggml_backend_dev_memory.restype = None
    libggml.ggml_backend_cpu_buffer_type.restype = ctypes.c_void_p
    return libggml
