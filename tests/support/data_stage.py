"""A project with nothing but what the data stages need: raw files, window, suite, params and a base's tokenizer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from finetide.config.stage import Stage
from finetide.contracts.rows import Role
from finetide.contracts.window import ChampionPin, Window, WindowFile
from finetide.data.suites import default_suite
from finetide.files import sha256_file, write_json
from support.project import edit_params

PROJECT = Path(__file__).parents[2]
MODEL = "tickets"


class DataProject:
    """Below ``root``, with this repository's dvc.yaml and params.yaml; columns are text and intent."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.raw = root / "data" / MODEL / "raw"
        self.raw.mkdir(parents=True)
        self.files: list[WindowFile] = []
        shutil.copy(PROJECT / "dvc.yaml", root / "dvc.yaml")
        shutil.copy(PROJECT / "params.yaml", root / "params.yaml")
        write_json(root / "data" / MODEL / "suite.json", default_suite("text-classification"))
        self.params(base={"source": "path:base", "revision": None, "sha256": self._base()})

    def params(self, **sections: dict[str, Any]) -> None:
        """Change settings, e.g. ``params(validate={"min_rows_per_label": 1})``."""

        def change(model: Any) -> None:
            for section, values in sections.items():
                model[section].update(values)

        edit_params(self.root, change, MODEL)

    def add(self, name: str, content: str | bytes, role: Role = "reference") -> None:
        path = self.raw / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.files.append(WindowFile(path=name, sha256=sha256_file(path), role=role))
        self.window()

    def window(self, champion: ChampionPin | None = None) -> None:
        window = Window(model=MODEL, start="base", champion=champion, files=tuple(self.files))
        window.write(self.raw.parent / "window.json")

    def stage(self, name: str) -> Stage:
        return Stage.open(self.root, name, MODEL)

    def out(self, stage: str, name: str) -> Path:
        return self.stage(stage).out(name)

    def _base(self) -> str:
        folder = self.root / "base"
        folder.mkdir()
        made = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
        made.pre_tokenizer = pre_tokenizers.Whitespace()
        made.save(str(folder / "tokenizer.json"))
        (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
        save_file({"weight": np.zeros(2, np.float32)}, folder / "model.safetensors")
        return sha256_file(folder / "model.safetensors")
