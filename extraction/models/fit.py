"""Which graphics card a GGUF build fits on, and how many layers of experts have to stay on the CPU there.

Sizes are those of the file's own tensors. Embeddings are looked up on the CPU, all else goes to the card; experts of
the first layers can be computed on the CPU instead (llama.cpp's `--n-cpu-moe`), which costs less speed than keeping
whole layers there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

GIB = 2**30
OVERHEAD = 0.75 * GIB  # CUDA's context and buffers for computing; an estimate
CARDS = (8.0, 11.99, 15.99, 23.99)  # GiB that cards sold with 8, 12, 16 and 24 GB have


@dataclass(frozen=True)
class Advice:
    """For one card: layers whose experts stay on the CPU, and GiB of the card that are then used."""

    card: float
    layers_on_cpu: int
    used: float
    fits: bool  # False: not even with all experts on the CPU


@dataclass(frozen=True)
class Sizes:
    """Bytes of a GGUF build: experts by layer, what else goes to a card, and the cache of one token."""

    experts: tuple[int, ...]
    rest: int
    token: int


def sizes(path: Path) -> Sizes:
    from gguf import GGUFReader

    reader = GGUFReader(path)
    kind = reader.fields["general.architecture"].contents()

    def setting(name: str) -> int | None:
        field = reader.fields.get(f"{kind}.{name}")
        return field.contents() if field else None

    layers = setting("block_count")
    experts, rest = [0] * layers, 0
    for tensor in reader.tensors:
        found = re.match(r"blk\.(\d+)\.ffn_.*_exps\.", tensor.name)
        if found:
            experts[int(found[1])] += int(tensor.n_bytes)
        elif tensor.name != "token_embd.weight":
            rest += int(tensor.n_bytes)
    names = {tensor.name for tensor in reader.tensors}
    if "output.weight" not in names:  # tied: the card gets a copy
        rest += next(int(t.n_bytes) for t in reader.tensors if t.name == "token_embd.weight")
    heads, width = setting("attention.head_count_kv"), setting("attention.key_length")
    width = width or setting("embedding_length") // setting("attention.head_count")
    return Sizes(tuple(experts), rest, layers * heads * width * 2 * 2)  # keys and values in 16 bit


def advise(found: Sizes, context: int, card: float) -> Advice:
    """The fewest layers of experts on the CPU with which a build and its cache fit on a card of this size in GiB."""
    needed = found.rest + context * found.token + OVERHEAD + sum(found.experts)
    layers = 0
    while needed > card * GIB and layers < len(found.experts):
        needed -= found.experts[layers]
        layers += 1
    return Advice(card, layers, round(needed / GIB, 2), needed <= card * GIB)


def say(found: dict, path: Path, context: int) -> str:
    """For the terminal: the card, and the line that starts llama-server for it, as it was measured."""
    card = f"{found['card']:.0f} GB card"
    if not found["fits"]:
        return f"{card}: does not fit"
    on_cpu = f" --n-cpu-moe {found['layers_on_cpu']}" if found["layers_on_cpu"] else ""
    return f"{card}: llama-server -m {path} -c {context} -np 1 -ngl 999{on_cpu} --fit off --port 8000"
