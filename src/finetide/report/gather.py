"""What the stages left behind, as far as they got. A file that is not there is None, never a crash."""

from __future__ import annotations

import base64
import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from finetide.config.graph import StageFiles, stage_files, stage_names
from finetide.config.load import PARAMS_FILE, load_section, read_yaml
from finetide.config.policy import PolicyParams
from finetide.contracts.base import Contract
from finetide.contracts.bundle import INFO_FILE, MANIFEST_FILE, BundleInfo, Manifest, Parity
from finetide.contracts.gate import Approval, GateRecord, newest, verdict_hash
from finetide.contracts.judge import JudgeVerdict
from finetide.contracts.label_issues import LabelIssues
from finetide.contracts.ledger import Alias
from finetide.contracts.metrics import AnswerEvaluation, Evaluation, Metrics, read_evaluation
from finetide.contracts.quality import IngestReport, LeakageVerdict, QualityVerdict
from finetide.contracts.shift import Recipe, ShiftVerdict
from finetide.contracts.training import TrainingReport
from finetide.contracts.window import Window
from finetide.data.payload import STORE, unreadable
from finetide.files import sha256_file
from finetide.registry.approvals import asked_before
from finetide.report.pictures import pictures

State = Literal["done", "earlier", "missing"]
Found = TypeVar("Found", bound=Contract)

LOCK_FILE = "dvc.lock"
# Labels, mistakes and suspects that are shown without unfolding.
SHOWN = 12


@dataclass(frozen=True)
class Facts:
    """Everything the page shows. ``stages``: stage → whether its outputs are there and belong to this run;
    ``counts``: (role, split, label or None) → rows; ``curve``: column → values, None where a cell is empty;
    ``asked``: why a person is asked before this promotion, ``said``: the answer; ``plot``: shift.png in base64;
    ``pictures``: row id → data URI, of rows on the page whose content is an image."""

    model: str
    stages: dict[str, State]
    window: Window | None
    ingest: IngestReport | None
    quality: QualityVerdict | None
    leakage: LeakageVerdict | None
    counts: Counter[tuple[str, str, str | None]]
    shift: ShiftVerdict | None
    recipe: Recipe | None
    plot: str | None
    gate: GateRecord | None
    approvals: tuple[Approval, ...]
    asked: str | None
    said: Approval | None
    training: TrainingReport | None
    label_issues: LabelIssues | None
    curve: dict[str, list[float | None]]
    metrics: Metrics | None
    evaluation: Evaluation | AnswerEvaluation | None
    parity: Parity | None
    info: BundleInfo | None
    manifest: Manifest | None
    bundle_hash: str | None
    judge: JudgeVerdict | None
    alias: Alias | None
    pictures: dict[str, str]


def gather(root: Path, model: str) -> Facts:
    """Read the files that dvc.yaml names for ``model``.

    A stage counts as not reached when an output of it, or of a stage before it that it needs, is missing: DVC removes
    the outputs of a stage that fails, and leaves those of the stages after it as an earlier run wrote them.
    """
    files = {stage: stage_files(root, stage, model) for stage in stage_names(root)}
    states = stage_states(root, model, files)

    def out(stage: str, name: str) -> Path | None:
        path = root / files[stage].outs[name]
        return path if states[stage] != "missing" and path.exists() else None

    def read(stage: str, name: str, contract: type[Found]) -> Found | None:
        path = out(stage, name)
        return None if path is None else contract.read(path)

    bundle, plot, split = out("export", "bundle"), out("shift", "shift.png"), out("split", "split.parquet")
    curve, scored = out("train", "curve.csv"), out("evaluate", "evaluation.json")
    store = root / files["ingest"].outs[STORE] if STORE in files["ingest"].outs else None  # older projects have none
    evaluation = None if scored is None else read_evaluation(scored)
    issues, judge = read("train", "label_issues.json", LabelIssues), read("judge", "judge.json", JudgeVerdict)
    approvals, judged = _approvals(root / files["gate"].deps[model]), out("judge", "judge.json")
    return Facts(
        model=model,
        stages=states,
        window=_optional(root / files["train"].deps["window.json"], Window),
        ingest=read("ingest", "ingest.json", IngestReport),
        quality=read("validate", "quality.json", QualityVerdict),
        leakage=read("split", "leakage.json", LeakageVerdict),
        counts=Counter() if split is None else _count(split),
        shift=read("shift", "shift.json", ShiftVerdict),
        recipe=read("shift", "recipe.json", Recipe),
        plot=None if plot is None else base64.b64encode(plot.read_bytes()).decode(),
        gate=read("gate", "gate.json", GateRecord),
        approvals=approvals,
        asked=_asked(root, model, judge),
        said=newest(approvals, verdict_hash(judged)) if judged else None,
        training=read("train", "training.json", TrainingReport),
        label_issues=issues,
        curve={} if curve is None else _curve(curve),
        metrics=read("evaluate", "metrics.json", Metrics),
        evaluation=evaluation,
        parity=read("export", "parity.json", Parity),
        info=None if bundle is None else _optional(bundle / INFO_FILE, BundleInfo),
        manifest=None if bundle is None else _optional(bundle / MANIFEST_FILE, Manifest),
        bundle_hash=None if bundle is None else sha256_file(bundle / MANIFEST_FILE),
        judge=judge,
        alias=_optional(root / "serving" / model / "champion.json", Alias),
        pictures=pictures(split, store, _shown(evaluation, issues)) if split and store else {},
    )


def _shown(evaluation: Evaluation | AnswerEvaluation | None, issues: LabelIssues | None) -> set[str]:
    """Rows that the page shows one by one."""
    found = {mistake.row_id for mistake in evaluation.mistakes} if evaluation else set()
    sides = (issues.train, issues.validation) if issues else ()
    return found | {issue.row_id for side in sides for issue in side.issues[:SHOWN]}


def stage_states(root: Path, model: str, files: Mapping[str, StageFiles]) -> dict[str, State]:
    """Stage → done, earlier (its outputs are of a run on other inputs, as dvc.lock tells), or missing."""
    lock = read_yaml(root / LOCK_FILE) if (root / LOCK_FILE).exists() else None
    locked = lock.get("stages", {}) if isinstance(lock, dict) else {}
    made_by: dict[Path, str] = {}
    states: dict[str, State] = {}
    for stage, paths in files.items():
        made_by.update(dict.fromkeys(paths.outs.values(), stage))
        before = {states[made_by[path]] for path in paths.deps.values() if path in made_by}
        if "missing" in before or not all((root / path).exists() for path in paths.outs.values()):
            states[stage] = "missing"
        elif "earlier" in before or _is_earlier(root, locked.get(f"{stage}@{model}")):
            states[stage] = "earlier"
        else:
            states[stage] = "done"
    return states


def _is_earlier(root: Path, entry: Any) -> bool:
    """Whether the lock tells how these outputs came to be, and an input is no longer what it was then."""
    if not isinstance(entry, dict) or any(_changed(root, out) for out in entry.get("outs", [])):
        return False
    return any(_changed(root, dep) for dep in entry.get("deps", []))


def _changed(root: Path, item: dict[str, Any]) -> bool:
    """Folders are taken as they are: their files' hashes are in DVC's cache and not in the lock."""
    path = root / str(item["path"])
    if path.is_dir() or "md5" not in item:
        return False
    return not path.exists() or hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != item["md5"]


def _optional(path: Path, contract: type[Found]) -> Found | None:
    return contract.read(path) if path.exists() else None


def _approvals(folder: Path) -> tuple[Approval, ...]:
    """Oldest first."""
    files: Iterable[Path] = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return tuple(sorted((Approval.read(file) for file in files), key=lambda approval: approval.time))


def _asked(root: Path, model: str, judge: JudgeVerdict | None) -> str | None:
    if judge is None or not (root / PARAMS_FILE).exists():
        return None
    return asked_before(judge, load_section(root, f"models.{model}.policy", PolicyParams).ask_before)


def _count(split: Path) -> Counter[tuple[str, str, str | None]]:
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    try:
        columns = pq.read_table(split, columns=["role", "split", "label"])
    except (ArrowException, OSError) as error:
        raise unreadable(split.name, error) from error
    return Counter(zip(*(columns[name].to_pylist() for name in ("role", "split", "label")), strict=True))


def _curve(path: Path) -> dict[str, list[float | None]]:
    """The columns of curve.csv that hold numbers; a cell that holds none is None."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    columns = {name: [_number(row[name]) for row in rows] for name in (rows[0] if rows else [])}
    return {name: values for name, values in columns.items() if any(value is not None for value in values)}


def _number(cell: str | None) -> float | None:
    try:
        return float(cell) if cell else None
    except ValueError:
        return None
