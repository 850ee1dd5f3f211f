"""What a stage is handed: its files by name and its own sections of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

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
            raise ProjectError("is missing", where=str(path), fix=f"run what comes before: dvc repro {self.name}")
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
        return self._scalar("seed", TypeAdapter(Seed))

    @property
    def task(self) -> str:
        return self._scalar("task", TypeAdapter(TaskName))

    def _scalar(self, key: str, adapter: TypeAdapter[Value]) -> Value:
        value = read_yaml(self.root / PARAMS_FILE)["models"][self.model].get(key)
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
