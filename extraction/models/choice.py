"""Which model is meant: decided once, with where it lies, what identifies it, its calibration and how it is opened."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from extraction import files, handoff
from extraction.models import backends, base_model, confidence, http
from extraction.tasks import custom, own_types, schemas

if TYPE_CHECKING:
    from config import Config

NAMES = "gguf (default), base-gguf, adapter, base, FILE.gguf or a server's URL"


@dataclass(frozen=True)
class Choice:
    """A model as it was named, and where it lies: in a folder that a stage sealed, in a GGUF file, or on a server."""

    cfg: Config
    name: str  # gguf, base-gguf, adapter, base, a file or an address
    folder: Path | None = None  # what a stage made; of a base model from the hub there is none
    file: Path | None = None  # a GGUF file; None as long as the build is missing
    made_by: str = ""  # the command that makes the folder

    @property
    def is_server(self) -> bool:
        return self.name.startswith(("http://", "https://"))

    @property
    def in_transformers(self) -> bool:
        return self.name in ("adapter", "base")

    @property
    def shown(self) -> str:
        """The name as it may be shown: of a server's address, without user and password."""
        return http.without_login(self.name)

    @property
    def label(self) -> str:
        """The name of the folder with the model's evaluation."""
        if self.name in ("gguf", "base-gguf"):
            return f"{self.name}-{self.cfg.inference.quantization}"
        return re.sub(r"[^\w.-]+", "_", self.shown if self.is_server else Path(self.name).name)

    @property
    def manifest(self) -> dict | None:
        return handoff.manifest_of(self.folder) if self.folder else None

    @property
    def fingerprint(self) -> str | None:
        """What changes when the model does; None for a server, of which we cannot know, and for a missing model."""
        if self.folder:
            return self.manifest["fingerprint"] if self.manifest else None
        if self.file:
            return files.sha256(self.file) if self.file.is_file() else None
        return None if self.is_server else self.cfg.train.base_model

    # --- what its confidences mean ---------------------------------------------------------------------------

    @property
    def calibration_file(self) -> Path | None:
        """Beside the model; None for a server, for a base model from the hub, and for a model that is missing."""
        if self.file:
            return self.file.with_name(f"{self.file.name}.confidence.json")
        return self.folder / "confidence.json" if self.manifest and self.name in ("adapter", "base") else None

    @property
    def weights(self) -> str:
        """The fingerprint of the weights that a calibration is fitted for."""
        if self.file and self.folder:
            return self.manifest["files"][self.file.name]["sha256"]
        return self.fingerprint

    def calibration(self) -> confidence.Calibration | None:
        """The calibration that was fitted for the model as it is now, if there is one."""
        path = self.calibration_file
        return confidence.load(path, self.weights) if path and path.is_file() else None

    def types(self) -> dict[str, custom.CustomTask]:
        """The own document types that the model was trained on. A server is taken to have this machine's build."""
        folder = self.cfg.gguf_dir if self.is_server else self.folder or (self.file and self.file.parent)
        return {} if self.name in ("base", "base-gguf") else own_types.load(folder)

    # --- opening it ------------------------------------------------------------------------------------------

    def open(self, parallel: int = 1) -> backends.Backend:
        """The backend; a server is asked for so many answers at once.

        Raises StageError (status 3) naming the command that makes what is missing.
        """
        try:
            backend = self._opened(parallel)
            backend.calibration, backend.types = self.calibration(), self.types()
        except files.StageError as error:
            raise files.StageError(str(error), status=3) from error
        return backend

    def _opened(self, parallel: int) -> backends.Backend:
        run = self.cfg.inference
        if self.is_server:
            limits = run.max_new_tokens, run.context_tokens, run.timeout_seconds
            return http.HttpBackend(self.name, *limits, run.api_key_env, parallel)
        if self.in_transformers:
            return self._opened_in_transformers()
        self._require_file()
        limits = run.context_tokens, run.max_new_tokens
        return backends.LlamaBackend(self.file, *limits, run.threads, run.gpu_layers, run.at_once)

    def _require_file(self) -> None:
        if self.folder:
            schemas.check_form(handoff.require(self.folder, made_by=self.made_by), self.folder, self.made_by)
            if self.file is None:
                kind = self.cfg.inference.quantization
                raise files.StageError(
                    f"{self.folder} has no {kind} build. Run: {self.made_by} --set export.quantization={kind}"
                )
        elif self.file.suffix != ".gguf" or not self.file.is_file():
            raise files.StageError(f"--model {self.name}: not gguf, base-gguf, adapter, base, a .gguf file or a URL")
        elif self.file.name in (handoff.manifest_of(self.file.parent) or {"files": ()})["files"]:
            export = self.cfg.command("export_gguf")
            schemas.check_form(handoff.require(self.file.parent, made_by=export), self.file, export)
        else:
            backends.try_out(self.file)

    def _opened_in_transformers(self) -> backends.Backend:
        cfg, built = self.cfg, self.cfg.train.base_model == base_model.BUILT
        if built:
            handoff.require(cfg.base_dir, made_by=self.made_by)
        if self.name == "adapter":
            schemas.check_form(handoff.require(self.folder, made_by=self.made_by), self.folder, self.made_by)
        return backends.TransformersBackend(
            cfg.train.base_model,
            cfg.base_dir if built else base_model.resolve(cfg.train.base_model),
            cfg.adapter_dir if self.name == "adapter" else None,
            base_model.tokenizer(cfg.train.base_model, cfg.base_dir),
            device=cfg.train.device,
            context_tokens=cfg.inference.context_tokens,
            max_new_tokens=cfg.inference.max_new_tokens,
            batch_size=cfg.evaluate.batch_size,
        )


def choose(cfg: Config, name: str) -> Choice:
    """The model that a name stands for: gguf, base-gguf, adapter, base, or else a server's address or a file."""
    if name in ("gguf", "base-gguf"):
        folder = cfg.gguf_dir if name == "gguf" else cfg.base_gguf_dir
        names = (handoff.manifest_of(folder) or {"files": ()})["files"]
        build = next((n for n in names if n.endswith(f"-{cfg.inference.quantization}.gguf")), None)
        made_by = cfg.command("export_gguf", *(["--base-only"] if name == "base-gguf" else []))
        return Choice(cfg, name, folder, build and folder / build, made_by)
    if name == "adapter":
        return Choice(cfg, name, cfg.adapter_dir, made_by=cfg.command("train_moe"))
    if name == "base":
        folder = cfg.base_dir if cfg.train.base_model == base_model.BUILT else None
        return Choice(cfg, name, folder, made_by=cfg.command("train_moe"))
    is_server = name.startswith(("http://", "https://"))
    return Choice(cfg, name, file=None if is_server else Path(name))
