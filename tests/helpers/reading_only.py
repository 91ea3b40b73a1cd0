"""Running the project's commands as where only requirements-inference.txt is installed."""

import os
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def pinned(name: str) -> dict[str, Requirement]:
    """The requirements of a file by name."""
    lines = [line.split("#")[0].strip() for line in Path(name).read_text(encoding="utf-8").splitlines()]
    found = [Requirement(line) for line in lines if line]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def with_dependencies(names: set[str]) -> set[str]:
    """The packages and whatever they need, by the metadata of what is installed here."""
    found, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            needed = map(Requirement, metadata.requires(name) or [])
            waiting += [canonicalize_name(n.name) for n in needed if not n.marker or n.marker.evaluate({"extra": ""})]
    return found


def environment(**values: str) -> dict[str, str]:
    """An environment in which whatever else requirements.txt installs cannot be imported; no way to this repository."""
    there = with_dependencies(set(pinned("requirements-inference.txt")))
    absent = with_dependencies(set(pinned("requirements.txt"))) - there
    modules = [
        module
        for module, owners in metadata.packages_distributions().items()
        if {canonicalize_name(owner) for owner in owners} <= absent
    ]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DOC_INTEL_", "GRADIO_", "PYTHON"))}
    refuse = str(Path(__file__).with_name("refuse"))
    return kept | {"PYTHONPATH": refuse, "REFUSED": " ".join(modules), **values}
