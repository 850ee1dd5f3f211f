"""A project as the stages up to shift leave it, on a micro base."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from finetide import tasks
from finetide.config.stage import Stage
from finetide.contracts.bundle import Manifest
from finetide.contracts.shift import Recipe
from finetide.contracts.window import ChampionPin, Window
from finetide.files import tree_hashes
from finetide.task import ModelSettings
from support.messages import LABELS, rows
from support.micro import micro_base
from support.project import edit_params

ROOT = Path(__file__).parents[2]
MODEL = "tickets"
CHAMPION = ChampionPin(version="v1", hash="c" * 64)
PROBE: dict[str, Any] = {"kind": "probe", "l2": [0.001, 0.01], "max_iterations": 50}
TUNE: dict[str, Any] = {
    "kind": "tune",
    "layers": [{"match": "embeddings", "lr": "frozen"}, {"match": ".*", "lr": 1.0}],
    "duration": {"epochs": 1, "steps": None},
    "learning_rate": 1.0e-3,
    "schedule": "linear",
    "warmup_share": 0.1,
    "weight_decay": 0.01,
    "max_gradient_norm": 1.0,
    "patience": 4,
    "evaluations_per_epoch": 1,
    "overfit_gap": None,
}


def table(count: int = 90, *, both: bool = True) -> pd.DataFrame:
    made = []
    for role, domain in (("reference", "shop"), ("incoming", "airline"))[: 2 if both else 1]:
        for index, row in enumerate(rows(count, domain, 1)):
            made.append(
                {
                    "row_id": f"{domain}.csv:{index + 2}", "role": role, "file": f"{domain}.csv", "line": index + 2,
                    "label": row["intent"], "split": row["side"], "group": None, "text": row["body"],
                }
            )  # fmt: skip
    return pd.DataFrame(made)


class Project:
    """Settings are small: a training takes a second."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("dvc.yaml", "params.yaml"):
            shutil.copy(ROOT / name, root / name)
        sha256 = micro_base(root / "base", layers=1)
        self.params(
            base={"source": "path:base", "revision": None, "sha256": sha256},
            train={
                "max_length": 32, "batch_rows": 16, "batch_tokens": 512, "prefix_cache_gib": 0.0, "precision": "fp32",
                "phases": [PROBE, TUNE],
            },
            evaluate={"bootstrap": 100},
        )  # fmt: skip
        (root / "finetide.lock").write_text(json.dumps({"stages": {MODEL: {"train": {"code": "abc"}}}}))
        Window(model=MODEL, start="base", champion=None, files=()).write(self.dep("window.json"))
        Recipe(verdict="none", replay=1.0, reason="").write(self.dep("recipe.json"))
        self.rows(table())

    def params(self, **sections: dict[str, Any]) -> None:
        def change(model: Any) -> None:
            for section, values in sections.items():
                model[section].update(values)

        edit_params(self.root, change, MODEL)

    def dep(self, name: str) -> Path:
        path = self.root / Stage.open(self.root, "train", MODEL).files.deps[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def rows(self, frame: pd.DataFrame) -> None:
        frame.to_parquet(self.dep("split.parquet"))

    def promote(self, *labels: str) -> None:
        """Weights of a champion in the store, pinned by the window, as a promotion leaves them."""
        task = tasks.load("text-classification")
        built = task.build(self.root / "base", ModelSettings(labels or LABELS, 32, "mean", 0.1), seed=9)
        weights = self.root / "serving" / MODEL / CHAMPION.hash / "weights"
        task.save(built, weights)
        Manifest(files=tree_hashes(weights), lineage={}).write(weights.parent / "weights.json")
        Window(model=MODEL, start="base", champion=CHAMPION, files=()).write(self.dep("window.json"))

    def graph(self) -> dict[str, str]:
        """Hashes of all that the graph and the life cycle own."""
        mine = ("studies/", ".finetide/")
        return {name: digest for name, digest in tree_hashes(self.root).items() if not name.startswith(mine)}
