"""``finetide.runtime.load``: a bundle, or the model in service, ready to predict."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from finetide.errors import InputError, IntegrityError, ProjectError
from finetide.files import read_json
from finetide.runtime import bundle
from finetide.runtime.bundle import Info
from finetide.runtime.graph import Array, open_session
from finetide.runtime.inputs import Inputs, open_inputs

GRAPHS = ("auto", "fp32", "int8")
CHAMPION = "champion"


class Predictor:
    """A verified bundle in memory. Made by `load`.

    One that follows an alias looks at the alias file before each prediction (a stat, microseconds) and changes to the
    bundle it names now, as a whole: a prediction is by one bundle or by the other.
    """

    def __init__(self, folder: Path, graph: str, alias: Path | None = None) -> None:
        self._graph, self._alias = graph, alias
        self._seen = _stamp(alias)
        self._open(folder, None if alias is None else _follow(alias)[1])

    @property
    def info(self) -> Info:
        return self._info

    @property
    def labels(self) -> tuple[str, ...]:
        return self._info.labels

    @property
    def hash(self) -> str:
        """SHA-256 of manifest.json: the name under which ledger and alias know the bundle."""
        return self._hash

    @property
    def inputs(self) -> Inputs:
        """How what is predicted from becomes what the graph takes."""
        return self._inputs

    def predict(self, values: Sequence[Any]) -> list[Any]:
        """One prediction an input, in order: `Prediction` of texts, or of images as paths or bytes; `Answer` of pairs
        of question and context. Raises: InputError for another."""
        outputs, encoded = self._outputs(values)
        return self._inputs.predictions(outputs, encoded, self._info)

    def logits(self, values: Sequence[Any]) -> Array:
        """[inputs, labels] float32, before temperature; of questions see `finetide.runtime.questions`."""
        return self._outputs(values)[0]

    def recorded(self, value: Any) -> tuple[str, list[float]]:
        """What examples.json holds of an input; see `finetide.runtime.inputs.Inputs.recorded`."""
        outputs, encoded = self._outputs([value])
        return self._inputs.recorded(outputs, encoded, self._info)

    def _outputs(self, values: Sequence[Any]) -> tuple[Array, Sequence[Any]]:
        self._inputs.check(values)
        self.refresh()
        encoded = self._inputs.encode(values)
        return self._inputs.run(self._session, encoded, len(self._info.labels)), encoded

    def refresh(self) -> bool:
        """Change to what the alias names now; whether anything changed. Without an alias: False."""
        if self._alias is None or (stamp := _stamp(self._alias)) == self._seen:
            return False
        folder, digest = _follow(self._alias)
        self._seen = stamp
        if digest == self._hash:
            return False
        self._open(folder, digest)
        return True

    def _open(self, folder: Path, promised: str | None) -> None:
        digest = bundle.check(folder)
        if promised not in (None, digest):
            raise IntegrityError(
                f"is not the bundle that the alias names, {promised}",
                where=str(folder),
                found=digest,
                fix="delete the folder: finetide run brings the right one back from DVC",
            )
        info = bundle.read_info(folder)
        name = {"auto": info.default_graph, "fp32": bundle.FP32, "int8": bundle.INT8}[self._graph]
        if not (folder / name).is_file():
            raise InputError(
                f"this bundle has no {name}: int8 did not pass its gate", where=str(folder), fix="use graph fp32"
            )
        session = open_session(folder / name)
        have = [entry.name for entry in session.get_inputs()]
        if have != list(info.inputs):
            raise IntegrityError(
                f"takes {have}, bundle.json says {list(info.inputs)}", where=str(folder / name), fix=bundle.RESTORE
            )
        inputs = open_inputs(info.task, folder, asdict(info))
        outputs = [entry.shape for entry in session.get_outputs()]
        if len(outputs) != 1 or not inputs.fits(outputs[0], len(info.labels)):
            raise IntegrityError(
                f"gives an output of shape {outputs}, bundle.json names {len(info.labels)} labels",
                where=str(folder / name),
                fix=bundle.RESTORE,
            )
        self._session, self._inputs, self._info, self._hash = session, inputs, info, digest


def load(target: str | Path, *, root: Path | None = None, graph: str = "auto") -> Predictor:
    """Open a bundle.

    Args:
        target: a bundle's folder, or ``MODEL@champion`` for what is in service, now and later.
        root: the project's folder; without it the nearest one upwards that holds params.yaml.
        graph: auto (what the bundle says), fp32 or int8.

    Raises:
        InputError: an unknown graph or alias. ProjectError: no such bundle or project. IntegrityError: altered bytes.
    """
    if graph not in GRAPHS:
        raise InputError("unknown graph", found=graph, fix=f"one of {', '.join(GRAPHS)}")
    text = str(target)
    if "@" in text and not Path(text).is_dir():
        model, _, alias = text.partition("@")
        if alias != CHAMPION:
            raise InputError("unknown alias", found=text, fix=f"{model}@{CHAMPION}")
        path = (root or _find_root()) / "serving" / model / f"{CHAMPION}.json"
        if not path.is_file():
            raise ProjectError("nothing is in service", where=str(path), fix=f"finetide run {model}")
        return Predictor(_follow(path)[0], graph, path)
    return Predictor(Path(target), graph)


def _follow(alias: Path) -> tuple[Path, str]:
    """Where the alias points, and the hash it names."""
    try:
        found = read_json(alias)
    except IntegrityError as error:
        raise IntegrityError(error.what, where=str(alias), fix="finetide run writes it anew") from error
    if not isinstance(found, dict) or not all(isinstance(found.get(key), str) for key in ("bundle", "hash")):
        raise IntegrityError("is not an alias file", where=str(alias), fix="finetide run writes it anew")
    folder: Path = alias.parents[2] / found["bundle"]
    if not folder.resolve().is_relative_to(alias.parents[2].resolve()):
        raise IntegrityError(
            "leads out of the project", where=str(alias), found=found["bundle"], fix="finetide run writes it anew"
        )
    if not folder.is_dir():
        raise ProjectError(
            "names a bundle that is not there",
            where=str(alias),
            found=found["bundle"],
            fix="finetide run brings it back",
        )
    return folder, found["hash"]


def _stamp(alias: Path | None) -> tuple[int, int, int] | None:
    if alias is None:
        return None
    found = os.stat(alias)
    return found.st_mtime_ns, found.st_ino, found.st_size


def _find_root() -> Path:
    here = Path.cwd()
    for folder in [here, *here.parents]:
        if (folder / "params.yaml").is_file():
            return folder
    raise ProjectError("is not inside a Finetide project", where=str(here), fix="give root=, or a bundle's folder")
