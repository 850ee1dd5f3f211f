"""What a stage is handed: its files by name and its own sections of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from finetide.config.common import BaseParams, Seed, TaskName
from finetide.config.graph import GRAPH_FILE, StageFiles, stage_files
from finetide.config.load import PARAMS_FILE, load_section, read_yaml
from finetide.errors import ConfigError, ProjectError

Model = TypeVar("Model", bound=BaseModel)
Value = TypeVar("Value")


@dataclass(frozen=True)
class Stage:
    """One stage of one model, ready to run."""

    root: Path
    name: str
    model: str
    files: StageFiles

    @classmethod
    def open(cls, root: Path, name: str, model: str) -> Stage:
        return cls(root=root, name=name, model=model, files=stage_files(root, name, model))

    def dep(self, name: str) -> Path:
        """Absolute path of an input that exists. Raises: ProjectError when it does not."""
        path = self._path(self.files.deps, name, "deps")
        if not path.exists():
            raise ProjectError("is missing", where=str(path), fix=f"run what comes before: finetide run {self.model}")
        return path

    def has_dep(self, name: str) -> bool:
        return name in self.files.deps

    def out(self, name: str) -> Path:
        """Absolute path of an output; its folder exists afterwards."""
        path = self._path(self.files.outs, name, "outs")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def section(self, model: type[Model], key: str | None = None) -> Model:
        """This stage's section of params.yaml, or the one named ``key``."""
        return load_section(self.root, f"models.{self.model}.{key or self.name}", model)

    @property
    def base(self) -> BaseParams:
        return self.section(BaseParams, "base")

    @property
    def seed(self) -> int:
        found: int = self.value("seed", Seed)
        return found

    @property
    def task(self) -> str:
        found: str = self.value("task", TaskName)
        return found

    def code_key(self) -> object:
        """This stage's entry of finetide.lock: the hash of its code and its libraries' versions."""
        return read_yaml(self.root / "finetide.lock")["stages"][self.model][self.name]

    def value(self, dotted: str, kind: Any) -> Any:
        """One setting of the model, e.g. ``train.replay``, checked as ``kind``; for a setting of another stage."""
        return self._scalar(dotted, TypeAdapter(kind))

    def _scalar(self, key: str, adapter: TypeAdapter[Value]) -> Value:
        value = read_yaml(self.root / PARAMS_FILE)["models"][self.model]
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        try:
            return adapter.validate_python(value, strict=True)
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            raise ConfigError(
                f"models.{self.model}.{key}: {problem[0].lower()}{problem[1:]}", where=PARAMS_FILE, found=value
            ) from error

    def _path(self, files: dict[str, Path], name: str, kind: str) -> Path:
        if name not in files:
            raise ConfigError(
                f"stages.{self.name}.{kind}: must have a file named {name!r}",
                where=GRAPH_FILE,
                fix=f"found there: {', '.join(files) or 'none'}",
            )
        return self.root / files[name]
