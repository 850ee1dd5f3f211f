"""``finetide check``: everything that can be found wrong before it costs time, each with a mark."""

from __future__ import annotations

import enum
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from finetide import base
from finetide.config.graph import stage_files, stage_names
from finetide.config.load import PARAMS_FILE, check, model_names, read_yaml
from finetide.config.params import ImageModelParams, ModelParams, Params, QuestionModelParams
from finetide.config.schedule import bucket_of
from finetide.contracts.window import Window
from finetide.data.expectations import check_suite
from finetide.errors import ConfigError, FinetideError, IntegrityError, ProjectError
from finetide.files import sha256_file
from finetide.pipeline import codelock, s3
from finetide.registry import ledger, store
from finetide.registry.alias import read_alias
from finetide.registry.git import no_repository

MIN_FREE_BYTES = 2 << 30
AnyParams = ModelParams | ImageModelParams | QuestionModelParams


class Mark(enum.Enum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Result:
    """``detail`` says what was found, or why the check was skipped."""

    mark: Mark
    what: str
    detail: str


def examine(root: Path, model: str | None) -> Iterator[Result]:
    """All checks; later ones are skipped, with the reason, when what they need failed."""
    yield _try("git", lambda: _git(root))
    yield _try("dvc", lambda: _dvc(root))
    yield _try("disk", lambda: _disk(root))
    params = _try("params.yaml", lambda: _params(root))
    yield params
    graph = _try("dvc.yaml", lambda: f"stages {', '.join(stage_names(root))}")
    yield graph
    if params.mark is Mark.FAILED or graph.mark is Mark.FAILED:
        yield Result(Mark.SKIPPED, "models", "params.yaml and dvc.yaml must be right first")
        return
    yield _try("finetide.lock", lambda: "; ".join(codelock.refresh(root)) or "as the installed code is")
    for name in model_names(root) if model is None else [model]:
        if name not in model_names(root):
            yield Result(Mark.FAILED, name, f"unknown model; models in params.yaml: {', '.join(model_names(root))}")
            continue
        yield from _examine_model(root, name)


def _examine_model(root: Path, name: str) -> Iterator[Result]:
    params = check(read_yaml(root / PARAMS_FILE), Params, file=PARAMS_FILE).models[name]
    found = _try(f"{name}: base model", lambda: _base(root, name, params))
    yield found
    if found.mark is Mark.FAILED:
        yield Result(Mark.SKIPPED, f"{name}: layers", "the base model must be right first")
    else:
        yield _try(f"{name}: layers", lambda: _layers(root, name, params))
    yield _try(f"{name}: suite", lambda: check_suite(root / stage_files(root, "validate", name).deps["suite.json"]))
    yield _try(f"{name}: window", lambda: _window(root, name))
    yield _try(f"{name}: approvals", lambda: _approvals(root, name))
    if bucket_of(params.schedule.drop):
        yield _drop(name, params.schedule.drop)
    yield _try(f"{name}: ledger", lambda: _ledger(root, name))
    yield _try(f"{name}: in service", lambda: _in_service(root, name))


def _try(what: str, examine_one: Callable[[], str]) -> Result:
    try:
        return Result(Mark.PASSED, what, examine_one())
    except FinetideError as error:
        return Result(Mark.FAILED, what, str(error))


def _git(root: Path) -> str:
    try:
        done = subprocess.run(["git", "--version"], cwd=root, capture_output=True, text=True, check=True)
        subprocess.run(["git", "rev-parse", "--git-dir"], cwd=root, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise ProjectError("git is not installed", fix="install git") from error
    except subprocess.CalledProcessError as error:
        raise no_repository(root) from error
    return done.stdout.strip()


def _dvc(root: Path) -> str:
    if not (root / ".dvc").is_dir():
        raise ProjectError("has no .dvc folder", where=str(root), fix="run `dvc init`")
    return "initialised"


def _disk(root: Path) -> str:
    free = shutil.disk_usage(root).free
    if free < MIN_FREE_BYTES:
        raise ProjectError(f"only {free >> 20} MiB free", where=str(root), fix=f"free {MIN_FREE_BYTES >> 20} MiB")
    return f"{free >> 30} GiB free"


def _params(root: Path) -> str:
    document = read_yaml(root / PARAMS_FILE)
    parsed = check(document, Params, file=PARAMS_FILE)
    return f"{len(parsed.models)} model(s): {', '.join(parsed.models)}"


def _base(root: Path, name: str, params: AnyParams) -> str:
    folder = base.resolve(params.base, root)
    base.check_length(folder, params.train.max_length, where=f"{PARAMS_FILE}: models.{name}.train.max_length")
    if base.of_images(folder):
        from finetide.images import check_processor

        check_processor(folder)
    return f"{params.base.source}, sha256 {params.base.sha256[:12]}… as pinned"


def _layers(root: Path, name: str, params: AnyParams) -> str:
    """The rules against the real model's parameters: the one check here that loads torch."""
    from finetide import tasks
    from finetide.config.train import Auto
    from finetide.engine.auto import check_budget
    from finetide.layers.course import course
    from finetide.stages.train import layer_policy, model_settings

    train = params.train
    settings = model_settings(("a", "b"), train)
    task = tasks.load(params.task)
    plain = task.build(base.resolve(params.base, root), settings, seed=params.seed)
    said = []
    for place, phase in enumerate(train.phases):
        if phase.kind not in ("tune", "adapt"):
            continue
        built = plain if phase.kind == "tune" else task.objective(phase.objective).wrap(plain, seed=params.seed)
        where = f"{PARAMS_FILE}: models.{name}.train.phases[{place}].layers"
        if isinstance(phase.layers, Auto):
            check_budget(built.module, phase.layers.auto, f"{where}.auto")
            said.append(f"phase {place + 1} finds its layers in {phase.layers.auto} steps")
            continue
        planned = course(layer_policy(phase.layers), built.module, 1000, where=where).first
        weights = sum(len(beside.weights) for beside in planned.adapters)
        more = f", and adapters beside {weights} others" if weights else ""
        count = len(list(built.module.named_parameters()))
        said.append(f"phase {place + 1} {phase.kind}s {len(planned.trainable)} of {count} tensors{more}")
    return "; ".join(said) or "the head alone"


NO_REFERENCE = "if it was edited: git checkout it; else begin a project with `finetide init` on the files that are good"


def _window(root: Path, name: str) -> str:
    path = root / stage_files(root, "ingest", name).deps["window.json"]
    if not path.exists():
        raise ProjectError("is missing", where=str(path), fix=f"run `finetide advance {name}`")
    window = Window.read(path)
    waiting = []
    for file in window.files:
        on_disk = path.parent / "raw" / file.path
        if not on_disk.exists():
            if not on_disk.with_name(on_disk.name + ".dvc").exists():
                raise ProjectError("is in the window and not on disk", where=str(on_disk), fix="bring the file back")
            waiting.append(file.path)
        elif sha256_file(on_disk) != file.sha256:
            fix = f"delete it, and `finetide run {name}` brings it back (DVC); new rows go into a file of another name"
            raise ProjectError("differs from what the window pinned", where=str(on_disk), fix=fix)
    roles = {role: len(window.paths(role)) for role in ("reference", "incoming", "excluded")}
    if not roles["reference"]:
        raise ProjectError(
            "names no reference file, so there is nothing to learn from", where=str(path), fix=NO_REFERENCE
        )
    fetched = f"; {len(waiting)} to be fetched by `finetide run`" if waiting else ""
    return ", ".join(f"{count} {role}" for role, count in roles.items()) + " file(s)" + fetched


def _approvals(root: Path, name: str) -> str:
    folder = root / stage_files(root, "gate", name).deps[name]
    if not folder.is_dir():
        raise ConfigError("is missing; DVC has no optional dependencies", where=str(folder), fix=f"mkdir -p {folder}")
    return f"{len(list(folder.glob('*.json')))} approval(s)"


def _drop(name: str, address: str) -> Result:
    """Can the prefix on S3 be listed? Skipped where this environment is not the one that takes files in."""
    what = f"{name}: drop folder"
    if not s3.is_installed():
        return Result(Mark.SKIPPED, what, f"{address}: S3 needs an extra: {s3.EXTRA}")

    def listed() -> str | None:
        prefix = s3.Prefix(address)
        return f"{address}: {len(prefix.objects())} object(s)" if prefix.has_keys() else None

    try:
        found = listed()
    except FinetideError as error:
        return Result(Mark.FAILED, what, str(error))
    if found is None:
        return Result(Mark.SKIPPED, what, f"{address}: no AWS keys here: {s3.KEYS}")
    return Result(Mark.PASSED, what, found)


def _ledger(root: Path, name: str) -> str:
    entries = ledger.read(root, name)
    return f"{len(entries)} entries, chain intact"


def _in_service(root: Path, name: str) -> str:
    alias = read_alias(root, name)
    if alias is None:
        return "nothing yet"
    try:
        store.verify(root, name, alias.hash)
    except IntegrityError as error:
        raise IntegrityError(f"{alias.version}: {error.what}", where=error.where, fix=f"finetide run {name}") from error
    return f"{alias.version} ({alias.hash[:12]}), bytes as promoted"
