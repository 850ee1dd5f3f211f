"""`finetide init`: looks first, writes everything or nothing."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from finetide.config.ingest import ColumnParams
from finetide.config.load import check, read_yaml
from finetide.config.params import Params
from finetide.errors import BaseModelError, DataError, InputError
from finetide.init.inspect import inspect
from finetide.init.project import Wanted, create
from support.messages import rows, write_csv
from support.micro import micro_base
from support.project import environment, run

COLUMNS = ColumnParams(text="body", label="intent", split=None, group=None)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    micro_base(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "shop.csv", rows(60, "shop", 1))


def wanted(base: Path, /, *reference: Path, **changes: object) -> Wanted:
    given: dict[str, object] = {
        "task": "text-classification", "name": "mail", "reference": reference, "incoming": (), "columns": COLUMNS,
        "base": str(base), "revision": None,
    }  # fmt: skip
    return Wanted(**{**given, **changes})  # type: ignore[arg-type]


def test_a_project_is_complete_and_nothing_is_staged(tmp_path: Path, base: Path, shop: Path) -> None:
    root = tmp_path / "new" / "project"
    said = list(create(root, wanted(base, shop)))
    assert said[0] == "read 60 rows with 3 labels: account, delivery, money"
    assert not any("zero-shot" in line or "split column" in line for line in said)
    assert "finetide run" in said[-1]
    document = read_yaml(root / "params.yaml")
    assert check(document, Params, file="params.yaml").model_dump(by_alias=True, mode="json") == document
    assert document["models"]["mail"]["ingest"]["columns"]["text"] == "body"
    window = json.loads((root / "data" / "mail" / "window.json").read_text())
    assert [(file["path"], file["role"]) for file in window["files"]] == [("shop.csv", "reference")]
    assert (root / "data" / "mail" / "raw" / "shop.csv.dvc").is_file()
    assert (root / "approvals" / "mail" / ".gitkeep").is_file()
    assert "MODEL_NAME" not in (root / "README.md").read_text() + (root / "params.yaml").read_text()
    assert run(root, "git", "diff", "--cached", "--name-only").stdout == ""
    checked = run(root, "finetide", "check")
    assert "✗" not in checked.stdout


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"task": "poetry"}, InputError, "--task: unknown task"),
        ({"name": "My Model"}, InputError, "--name: must be lower-case letters"),
        ({"name": "a; rm -rf ."}, InputError, "--name: must be lower-case letters"),
        ({"columns": COLUMNS.model_copy(update={"text": "boddy"})}, DataError, "boddy"),
        ({"columns": COLUMNS.model_copy(update={"label": "intend"})}, DataError, "intend"),
        ({"base": "org/unknown"}, BaseModelError, "a hub base needs its revision"),
        ({"base": "package:no-such-thing"}, BaseModelError, "is not installed"),
    ],
)
def test_wrong_arguments_leave_nothing(
    tmp_path: Path, base: Path, shop: Path, changes: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        list(create(tmp_path / "p", wanted(base, shop, **changes)))
    assert not (tmp_path / "p").exists()


def test_missing_and_clashing_files_are_named(tmp_path: Path, base: Path, shop: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        list(create(tmp_path / "p", wanted(base, tmp_path / "none.csv")))
    again = write_csv(tmp_path / "other" / "shop.csv", rows(20, "shop", 2))
    with pytest.raises(InputError, match=r"two files are named 'shop.csv'"):
        list(create(tmp_path / "p", wanted(base, shop, again)))


def test_a_folder_in_use_is_left_alone(tmp_path: Path, base: Path, shop: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "mine.txt").write_text("x")
    with pytest.raises(InputError, match=r"is not empty \(mine.txt is there\)"):
        list(create(tmp_path / "p", wanted(base, shop)))
    (tmp_path / "p" / "params.yaml").write_text("")
    with pytest.raises(InputError, match="is a project already"):
        list(create(tmp_path / "p", wanted(base, shop)))
    with pytest.raises(InputError, match="is a file"):
        list(create(tmp_path / "p" / "mine.txt", wanted(base, shop)))
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == ["mine.txt", "params.yaml"]


def test_a_failure_half_way_leaves_nothing(
    tmp_path: Path, base: Path, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(root: Path) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr("finetide.init.project.codelock.refresh", fail)
    with pytest.raises(KeyboardInterrupt):
        list(create(tmp_path / "p", wanted(base, shop)))
    assert not (tmp_path / "p").exists()


def test_a_relative_folder_with_a_space_leaves_nothing_else(
    tmp_path: Path, base: Path, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = list(create(Path("new one"), wanted(base, shop)))
    commit = 'git add . && git commit -m "mail: as init wrote it"'
    assert said[-1] == f"next: cd 'new one' && {commit} && finetide run"
    assert sorted(path.name for path in (tmp_path / "new one").iterdir() if not path.name.startswith(".")) == [
        "README.md", "approvals", "data", "dvc.yaml", "finetide.lock", "params.yaml",
    ]  # fmt: skip
    made = tmp_path / "new one"
    done = subprocess.run(["sh", "-c", commit], cwd=made, env={**os.environ, **environment()}, check=False)
    assert done.returncode == 0
    assert run(made, "git", "status", "--porcelain").stdout == ""
    assert "shop.csv.dvc" in run(made, "git", "ls-files").stdout
    assert "http" not in (made / "README.md").read_text()


def test_an_encoding_is_read_and_written_down(tmp_path: Path, base: Path) -> None:
    latin = tmp_path / "latin.csv"
    lines = [f"Größe {index},{'a' if index % 2 else 'b'}" for index in range(20)]
    latin.write_bytes("\n".join(["body,intent", *lines]).encode("latin-1"))
    columns = COLUMNS.model_copy(update={"split": None, "group": None})
    with pytest.raises(DataError, match="init --encoding"):
        list(create(tmp_path / "p", wanted(base, latin, columns=columns)))
    list(create(tmp_path / "p", wanted(base, latin, columns=columns, encoding="latin-1")))
    assert read_yaml(tmp_path / "p" / "params.yaml")["models"]["mail"]["ingest"]["encoding"] == "latin-1"


def test_one_label_is_too_few(tmp_path: Path, base: Path) -> None:
    single = tmp_path / "single.csv"
    single.write_text("body,intent\n" + "".join(f"text {index},same\n" for index in range(20)))
    with pytest.raises(DataError, match=r"one label in column 'intent'"):
        list(create(tmp_path / "p", wanted(base, single, columns=COLUMNS.model_copy(update={"split": None}))))


def split_file(folder: Path) -> Path:
    """4 training rows of 100 characters, 2 dev, 2 Test rows of 400; labels that are numbers."""
    words = ["train"] * 4 + ["dev"] * 2 + ["Test"] * 2
    cells = [f"{'x' * (100 if word == 'train' else 400)},{place % 2},{word}" for place, word in enumerate(words)]
    path = folder / "given.csv"
    path.write_text("\n".join(["body,intent,side", *cells, "loose,1,"]) + "\n")
    return path


def test_what_init_says_of_a_split_column_and_of_labels_that_are_numbers(tmp_path: Path, base: Path) -> None:
    columns = COLUMNS.model_copy(update={"split": "side"})
    said = list(create(tmp_path / "p", wanted(base, split_file(tmp_path), columns=columns)))
    assert said[1] == (
        "split column 'side': none given (1 rows, which we split); Test → test (2 rows); dev → validation (2 rows); "
        "train (4 rows)"
    )
    assert said[-2] == (
        "labels 0, 1 are numbers, with which zero-shot, a baseline, can do nothing: describe them in params.yaml, "
        "evaluate.label_descriptions, e.g. {'0': a phrase, '1': a phrase}"
    )


def test_rows_that_are_not_trained_on_do_not_count_for_the_epochs(tmp_path: Path) -> None:
    columns = COLUMNS.model_copy(update={"split": "side"})
    seen = inspect((split_file(tmp_path),), (), columns, encoding="auto")
    assert (seen.rows, seen.why_epochs) == (9, "5 rows of 81 characters, validation and test rows (4) left out")


@pytest.mark.parametrize(("labels", "floor"), [(2, 0.5), (4, 0.5), (5, 0.4), (8, 0.25), (77, 0.03)])
def test_the_floor_is_twice_a_guess_where_that_is_less_than_a_half(
    labels: int, floor: float, tmp_path: Path, base: Path
) -> None:
    table = [{"body": f"message number {place} about {place % labels}", "intent": f"t{place % labels}"}
             for place in range(2 * labels)]  # fmt: skip
    said = list(create(tmp_path / "new", wanted(base, write_csv(tmp_path / "many.csv", table))))
    assert read_yaml(tmp_path / "new" / "params.yaml")["models"]["mail"]["judge"]["floor"] == floor
    told = [line for line in said if line.startswith("floor")]
    guess = f"floor: {floor:g}, 2 times what a guess among {labels} labels gets; change it in params.yaml, judge.floor"
    assert told == ([] if floor == 0.5 else [guess])


def test_random_weights_of_a_text_model_learn_long_and_have_no_images_to_turn(
    tmp_path: Path, base: Path, shop: Path
) -> None:
    said = list(create(tmp_path / "p", wanted(base, shop, from_scratch=True)))
    train = check(read_yaml(tmp_path / "p" / "params.yaml"), Params, file="params.yaml").models["mail"].train
    (phase,) = train.phases
    assert (train.start, phase.kind, phase.duration.epochs) == ("scratch", "tune", 16)
    assert not hasattr(train, "augment")
    assert any(line.startswith("tune phase: 16 epochs (random weights learn long") for line in said)
