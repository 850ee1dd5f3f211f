"""The table that is written, and that it joins when it comes back."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from finetide import runtime
from finetide.config.images import ImageColumnParams
from finetide.config.stage import Stage
from finetide.contracts.window import ChampionPin, Window
from finetide.data.payload import read_split
from finetide.errors import DataError, InputError
from finetide.init.project import Wanted, create
from finetide.lifecycle.label_requests import request
from finetide.lifecycle.prepare import advance_window
from finetide.pipeline import dvc
from support.images import members, micro_vision, write_folder
from support.messages import LABELS
from support.project import edit_params
from support.studies import MODEL, Project, table

PIN = ChampionPin(version="v1", hash="c" * 64)


class Scripted:
    """Sure of all texts but those with a mark."""

    inputs = SimpleNamespace(values=lambda rows: list(rows["text"]))
    labels = tuple(sorted(LABELS))
    info = SimpleNamespace(temperature=1.0)
    hash = PIN.hash

    def __init__(self, _: Path) -> None:
        pass

    def logits(self, texts: list[str]) -> Any:
        return np.array([[0.1, 0.0, -9.0] if "unsure" in text else [9.0, 0.0, 0.0] for text in texts])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(runtime, "load", Scripted, raising=False)
    made = Project(tmp_path)
    frame = table()
    incoming = frame["role"] == "incoming"
    marked = frame.index[incoming][::9]
    frame.loc[marked, "text"] = [
        f"unsure {text}, number {place}" for place, text in enumerate(frame.loc[marked, "text"])
    ]
    made.rows(frame.assign(label=frame["label"].where(~incoming | (frame.index % 4 == 0), None)))
    return made


def written(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_rows_of_which_the_champion_is_unsure_come_first(project: Project, tmp_path: Path) -> None:
    (project.root / "serving" / MODEL / PIN.hash / "bundle").mkdir(parents=True)
    Window(model=MODEL, start="base", champion=PIN, files=()).write(project.dep("window.json"))
    target = tmp_path / "ask.csv"
    count, without = request(project.root, MODEL, target, 5)
    rows = written(target)
    assert (count, len(rows)) == (5, 5)
    assert list(rows[0]) == ["row_id", "text", "suggested_label", "intent"]
    assert all("unsure" in row["text"] for row in rows)
    assert {row["intent"] for row in rows} == {""}
    assert {row["suggested_label"] for row in rows} == {Scripted.labels[0]}
    frame = table()
    assert without == int(((frame["role"] == "incoming") & (frame.index % 4 != 0)).sum())
    again = tmp_path / "again.csv"
    request(project.root, MODEL, again, 5)
    assert again.read_bytes() == target.read_bytes()


def test_without_a_champion_nothing_is_suggested(project: Project, tmp_path: Path) -> None:
    count, _ = request(project.root, MODEL, tmp_path / "ask.csv", None)
    rows = written(tmp_path / "ask.csv")
    assert count == len(rows) > 5  # shift.recipe.ask_labels is more than there are
    assert {row["suggested_label"] for row in rows} == {""}
    assert len({row["row_id"] for row in rows}) == count


def test_a_table_that_is_there_is_not_written_over(project: Project, tmp_path: Path) -> None:
    target = tmp_path / "ask.csv"
    target.write_text("an hour of work")
    with pytest.raises(InputError, match=r"is there already, and may be filled in(.|\n)*fix: name another: --output"):
        request(project.root, MODEL, target, 5)
    assert target.read_text() == "an hour of work"


def test_where_all_rows_are_labelled_there_is_nothing_to_ask(project: Project, tmp_path: Path) -> None:
    project.rows(table())
    with pytest.raises(InputError, match="there is no row to ask for: all incoming rows are labelled"):
        request(project.root, MODEL, tmp_path / "ask.csv", 5)
    project.rows(table(both=False))
    with pytest.raises(InputError, match="there is no row to ask for: nothing has arrived"):
        request(project.root, MODEL, tmp_path / "ask.csv", 5)


def test_where_an_answer_is_no_label_there_is_no_request(project: Project, tmp_path: Path) -> None:
    edit_params(project.root, lambda model: model.update(task="question-answering"), MODEL)
    with pytest.raises(InputError, match=r"asks for one label a row, and here a row's answer is none"):
        request(project.root, MODEL, tmp_path / "ask.csv", 5)


@pytest.mark.slow
def test_images_lie_beside_the_table_and_come_back_with_labels(tmp_path: Path) -> None:
    micro_vision(tmp_path / "base", "ResNet")
    folder = write_folder(tmp_path / "photos", members(12))
    root = tmp_path / "project"
    columns = ImageColumnParams(image="image", label="label", split=None, group=None)
    list(create(root, Wanted("image-classification", "shapes", (folder,), (), columns, str(tmp_path / "base"), None)))
    bare = pd.DataFrame({"image": list(members(4, start=100).values())})
    bare.to_parquet(tmp_path / "bare.parquet")
    advance_window(root, "shapes", [tmp_path / "bare.parquet"])
    dvc.checked(root, ["repro", "--quiet", "split@shapes"])

    target = tmp_path / "ask.csv"
    assert request(root, "shapes", target, 5) == (5, 12)
    rows = written(target)
    assert list(rows[0]) == ["row_id", "image", "suggested_label", "label"]
    assert [row["image"] for row in rows] == [f"ask-images/{place}.png" for place in range(1, 6)]
    sent = {row["row_id"]: (tmp_path / row["image"]).read_bytes() for row in rows}
    assert sent == {row_id: bare["image"][int(row_id.rpartition(":")[2]) - 1] for row_id in sent}
    with pytest.raises(InputError, match="ask-images: is there already"):
        request(root, "shapes", target.rename(tmp_path / "kept.csv").with_name("ask.csv"), 5)

    labels = ("disc", "disc", "ring", "bar")
    filled = [{**row, "label": label} for row, label in zip(rows, [*labels, ""], strict=True)]
    pd.DataFrame(filled).to_csv(tmp_path / "filled.csv", index=False)
    advance_window(root, "shapes", [tmp_path / "filled.csv"])
    dvc.checked(root, ["repro", "--quiet", "split@shapes"])
    found = read_split(Stage.open(root, "train", "shapes")).set_index("row_id")["label"]
    assert found[[row["row_id"] for row in filled]].fillna("").tolist() == [*labels, ""]

    pd.DataFrame(filled[-1:]).assign(label="disk").to_csv(tmp_path / "wrong.csv", index=False)
    with pytest.raises(DataError, match=r"wrong\.csv(.|\n)*no row has the label disk"):
        advance_window(root, "shapes", [tmp_path / "wrong.csv"])
