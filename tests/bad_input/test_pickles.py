"""Nothing is ever unpickled: a gadget in the place of every file that we read does not go off."""

from __future__ import annotations

import ast
import io
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from support.forked import Forks
from support.project import MODEL, environment

SOURCE = Path(__file__).parents[2] / "src"
FORBIDDEN = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


class Gadget:
    """Unpickled, it makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


def payload(marker: Path, suffix: str) -> bytes:
    """A pickle in the dress of the file's kind: NumPy's object arrays, torch's zip, or plain."""
    stream = io.BytesIO()
    if suffix == ".npy":
        np.save(stream, np.array([Gadget(marker)], dtype=object), allow_pickle=True)
    elif suffix in (".bin", ".pt", ".safetensors"):
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(Gadget(marker), protocol=2))
            archive.writestr("archive/version", "3\n")
    else:
        pickle.dump(Gadget(marker), stream)
    return stream.getvalue()


def test_the_gadget_works(tmp_path: Path) -> None:
    for number, suffix in enumerate((".npy", ".json")):
        marker, file = tmp_path / f"went-off-{number}", tmp_path / f"gadget{suffix}"
        file.write_bytes(payload(marker, suffix))
        np.load(file, allow_pickle=True) if suffix == ".npy" else pickle.loads(file.read_bytes())
        assert marker.is_dir()


def test_no_file_of_ours_can_unpickle_or_start_a_shell() -> None:
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: set[str] = set()
            if isinstance(node, ast.Import):
                names = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").partition(".")[0]}
            assert not names & FORBIDDEN, f"{path}: imports {names & FORBIDDEN}"
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert called not in ("torch.load", "eval", "exec", "os.system", "os.popen"), f"{path}: {called}"
            assert keywords.get("shell", "False") == "False", f"{path}:{node.lineno}: a shell"
            assert keywords.get("trust_remote_code", "False") == "False", f"{path}:{node.lineno}"
            if called in ("np.load", "numpy.load"):
                assert keywords.get("allow_pickle") == "False", f"{path}:{node.lineno}: np.load"


def read_files(folder: Path) -> list[str]:
    """Every file of a trained project and its base that a command may read; the code that DVC keeps is DVC's."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        skipped = ("project/.git/", "project/.dvc/", "project/.finetide/dvc", "project/.finetide/prefect")
        if path.is_file() and not name.startswith(skipped) and not name.endswith((".md", ".html", ".lock", ".log")):
            found.append(name)
    return [*found, "micro-base/pytorch_model.bin", "micro-base/training_args.bin"]


def commands_for(name: str, bundle: Path, folder: Path) -> list[list[str]]:
    """The quickest commands that read the file."""
    predict = ["predict", str(bundle), "--input", str(folder / "asked.csv"), "--output", str(folder / "out.csv")]
    if name.startswith("project/serving"):
        return [["verify", str(bundle)], predict]
    if name.startswith("micro-base"):
        return [["stage", "shift", MODEL], ["stage", "train", MODEL]]
    if name.startswith("project/artifacts"):
        return [["run"]]
    return [["check"], ["stage", "ingest", MODEL]]


@pytest.mark.parametrize(
    "where",
    [
        "micro-base",
        *(
            pytest.param(place, marks=pytest.mark.slow)
            for place in ("project/serving", "project/data", "project/artifacts")
        ),
    ],
)
def test_a_gadget_in_every_file_does_not_go_off(
    where: str, forks: Forks, starts: dict[str, Path], tmp_path: Path
) -> None:
    folder, marker = tmp_path / "f", tmp_path / "went-off"
    shutil.copytree(starts["trained"], folder, symlinks=True)
    root = folder / "project"
    bundle = next((root / "serving" / MODEL).glob("*/bundle"))
    (folder / "asked.csv").write_text("body\nwhere is my parcel\n")
    wanted = [name for name in read_files(folder) if name.startswith(where) and not (folder / name).is_symlink()]
    assert len(wanted) > 3
    for name in wanted:
        path = folder / name
        before = path.read_bytes() if path.exists() else None
        if before is not None:
            path.chmod(0o644)
        path.write_bytes(payload(marker, path.suffix))
        for command in commands_for(name, bundle, folder):
            forks.call(root, command, tmp_path / "log", environment())
            assert not marker.exists(), f"{name} was unpickled by finetide {command[0]}"
        path.unlink() if before is None else path.write_bytes(before)
