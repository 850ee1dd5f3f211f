"""Question answering: what the model is given and gives, in torch and from its bundle."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from finetide.contracts.bundle import BundleInfo, Examples
from finetide.engine.checkpoint import Checkpoints, Unsaved
from finetide.engine.inference import embed, predict
from finetide.engine.loop import train
from finetide.engine.progress import Curve
from finetide.engine.specs import Data, Settings, TuneSpec
from finetide.engine.tune import Tuner
from finetide.errors import BaseModelError, ConfigError, InputError, IntegrityError
from finetide.export import onnx_file
from finetide.export.pack import pack
from finetide.layers.policies import Named
from finetide.runtime import load, verify
from finetide.runtime.bundle import Info
from finetide.runtime.graph import open_session
from finetide.spans import NOWHERE, find_all
from finetide.stages.export import prove, served_inputs
from finetide.task import Built, ModelSettings
from finetide.tasks.question_answering import TASK, reading_of
from support.micro import micro_base
from support.questions import micro_reader, rows

SETTINGS = ModelSettings(
    ("start", "end"), 40, "mean", 0.1, (), (), extra={"stride": 12, "max_question": 16, "max_answer": 6}
)
ENGINE = Settings(
    seed=3, batch_rows=8, batch_tokens=2048, precision="fp32", checkpoint_every_steps=4, feature_cache=None
)
SPEC = TuneSpec(
    policy=Named("full"), epochs=None, steps=12, learning_rate=2e-3, schedule="linear", warmup_share=0.1,
    weight_decay=0.01, max_gradient_norm=1.0, patience=20, evaluations_per_epoch=1,
)  # fmt: skip


def table(count: int, start: int = 0, without: int = 2) -> pd.DataFrame:
    """As split leaves it, as far as the task looks."""
    import json

    made = rows(count, start=start, without=without)
    return pd.DataFrame(
        {
            "row_id": [row["id"] for row in made],
            "split": "test",
            "label": ["answerable" if row["answers"] else "unanswerable" for row in made],
            "question": [row["question"] for row in made],
            "context": [row["context"] for row in made],
            "answers": [json.dumps(row["answers"]) for row in made],
        }
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    micro_reader(folder, layers=1)
    return folder


@pytest.fixture
def built(base: Path) -> Built:
    made = TASK.build(base, SETTINGS, seed=1)
    with torch.no_grad():  # far enough from zero to tell tokens apart
        made.module.head.weight.normal_(generator=torch.Generator().manual_seed(2))  # type: ignore[union-attr,operator]
    return made


def test_the_loss_is_that_of_start_and_end_over_the_places_of_an_answer(built: Built) -> None:
    examples = TASK.encode(built, table(4))
    index = list(range(len(examples.ids)))
    batch = TASK.collate(built, examples, index)
    outputs = TASK.outputs(built.module, batch)
    assert outputs.shape == (len(index), 2 * SETTINGS.max_length)
    logits = built.module(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
    for row in index:
        places = np.flatnonzero(batch["places"][row])
        wanted = [
            nn.functional.cross_entropy(
                logits[row, places, side][None], torch.tensor([places.tolist().index(batch["targets"][row, side])])
            )
            for side in (0, 1)
        ]
        assert float(TASK.loss(outputs, batch)[row].detach()) == pytest.approx(
            float(sum(one.detach() for one in wanted)) / 2, abs=1e-5
        )
    assert (outputs == NOWHERE).any()


def test_a_window_says_the_same_in_any_batch(built: Built) -> None:
    examples = TASK.encode(built, table(5))
    together = predict(TASK, built, examples, batch_tokens=4096)
    alone = predict(TASK, built, examples, batch_tokens=1)
    np.testing.assert_allclose(together, alone, atol=2e-5)


def test_long_contexts_have_several_windows_and_one_answer(built: Built) -> None:
    found = table(6)
    examples = TASK.encode(built, found)
    assert len(examples.ids) > len(found)
    assert [examples.ids[places[0]] for places in examples.rows()] == list(found["row_id"])
    outputs = predict(TASK, built, examples, batch_tokens=4096)
    assert len(TASK.said(outputs, examples)) == len(found)
    score, loss = TASK.score(torch.from_numpy(outputs), examples)
    assert 0 <= score <= 1
    assert loss > 0
    share, labelled = TASK.share_right(outputs, examples)
    assert labelled == len(found)
    assert 0 <= share <= 1


def test_what_asks_about_one_passage_is_a_group(built: Built) -> None:
    found = table(12)
    examples = TASK.encode(built, found)
    of = dict(zip(found["row_id"], found["context"], strict=True))
    assert 1 < len(set(of.values())) < len(found)
    assert list(examples.groups) == [of[row_id] for row_id in examples.ids]
    again = examples.take([2, 0])
    assert (again.groups, again.keys) == (examples.groups[2::-2], examples.keys[2::-2])


def test_training_keeps_the_questions_about_a_passage_apart(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = TASK.encode(built, table(40))
    plain = Tuner._micro_batches
    steps: list[list[str]] = []

    def watched(self: Tuner, rows: list[int], tokens: int, step: int) -> float:
        steps.append([examples.groups[row] for row in rows])
        return plain(self, rows, tokens, step)

    monkeypatch.setattr(Tuner, "_micro_batches", watched)
    met = []
    for kept in (examples, replace(examples, groups=())):
        steps.clear()
        data = Data(kept, TASK.encode(built, table(2, start=20)))
        train(TASK, built, data, [SPEC], ENGINE, Curve(tmp_path / f"{bool(kept.groups)}.csv"), Unsaved())
        met.append(sum(len(step) - len(set(step)) for step in steps))
    assert met[0] * 4 < met[1]


def test_perfect_outputs_score_one_and_none_do_not(built: Built) -> None:
    examples = TASK.encode(built, table(6))
    perfect = np.full((len(examples.ids), 2, SETTINGS.max_length), 0.0, np.float32)
    for place, (start, end) in enumerate(examples.targets):
        perfect[place, 0, start] = perfect[place, 1, end] = 9.0
    assert TASK.lost(built, examples) == ""
    assert TASK.score(torch.from_numpy(perfect.reshape(len(perfect), -1)), examples)[0] == 1.0
    confidence, right = TASK.confidence(perfect.reshape(len(perfect), -1), examples)
    assert right.all()
    assert (confidence > 0.9).all()
    assert TASK.score(torch.from_numpy(-perfect.reshape(len(perfect), -1)), examples)[0] < 0.5


def test_answers_that_no_window_holds_are_counted(base: Path) -> None:
    tight = replace(SETTINGS, extra={"stride": 1, "max_question": 16, "max_answer": 1})
    built = TASK.build(base, tight, seed=1)
    import json

    found = table(2, without=0)
    context = found["context"][0]
    found.loc[0, "answers"] = json.dumps([{"text": context[:40], "answer_start": 0}])
    said = TASK.lost(built, TASK.encode(built, found))
    assert said.startswith("1 of 8 training questions have an answer that no window holds")
    assert "first q0-who" in said


def test_what_is_saved_is_built_again_to_the_bit(built: Built, tmp_path: Path) -> None:
    TASK.save(built, tmp_path)
    again = TASK.build(tmp_path, ModelSettings(("start", "end"), 40, "mean", 0.0), seed=9)
    assert reading_of(again.settings) == reading_of(built.settings)
    for name, value in built.module.state_dict().items():
        assert torch.equal(value, again.module.state_dict()[name]), name


def test_features_are_of_windows_and_of_single_texts(built: Built) -> None:
    examples = TASK.encode(built, table(2))
    found = embed(TASK, built, examples, batch_tokens=4096, cache=None)
    assert found.shape == (len(examples.ids), 48)
    anchors = TASK.anchors(table(2), ("start", "end"), None)  # type: ignore[arg-type]
    texts = embed(TASK, built, TASK.encode(built, anchors.rows), batch_tokens=4096, cache=None)
    assert texts.shape == (len(anchors.rows), 48)
    assert set(anchors.owner) == {0, 1}


def test_a_killed_training_resumes_and_ends_with_the_same_weights(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(store: Path) -> dict[str, torch.Tensor]:
        built = TASK.build(base, SETTINGS, seed=1)
        data = Data(TASK.encode(built, table(12)), TASK.encode(built, table(4, start=20)))
        train(TASK, built, data, [SPEC], ENGINE, Curve(store.with_suffix(".csv")), Checkpoints(store))
        return {name: value.clone() for name, value in built.module.state_dict().items()}

    whole = run(tmp_path / "whole")
    save, saved = Tuner._save, []

    def killed(self: Tuner, *arguments: object) -> None:
        save(self, *arguments)  # type: ignore[arg-type]
        saved.append(1)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Tuner, "_save", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed")
    monkeypatch.setattr(Tuner, "_save", save)
    again = run(tmp_path / "killed")
    for name, value in whole.items():
        assert torch.equal(value, again[name]), name
    assert (tmp_path / "killed.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.fixture(scope="module")
def bundle(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Built, Path]:
    plain = TASK.build(base, SETTINGS, seed=1)
    with torch.no_grad():
        plain.module.head.weight.normal_(generator=torch.Generator().manual_seed(2))  # type: ignore[union-attr,operator]
    examples = TASK.encode(plain, table(10))
    found = find_all(examples.inputs, predict(TASK, plain, examples, batch_tokens=2048))
    ranked = sorted(one.null - one.spans[0].score for one in found)
    middle = sum(ranked[len(ranked) // 2 - 1 : len(ranked) // 2 + 1]) / 2  # half of the questions have an answer
    made = replace(plain, settings=replace(SETTINGS, extra={**SETTINGS.extra, "null_threshold": middle}))
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    folder.mkdir()
    for name, content in TASK.preprocessing(made).files().items():
        (folder / name).write_bytes(content)
    onnx_file.export(TASK.export(made), folder / "model.onnx", opset=18)
    info = BundleInfo(
        model="faq", task=TASK.name, labels=("start", "end"), inputs=TASK.export(made).inputs, max_length=40,
        pad_token_id=0, temperature=1.5, default_graph="model.onnx", machine="test",
    )  # fmt: skip
    inputs, session = served_inputs(TASK, made), open_session(folder / "model.onnx")
    shown = []
    for value in inputs.values(table(1)):
        encoded = inputs.encode([value])
        known = Info(**info.model_dump(exclude={"schema_version", "machine"}))
        said, numbers = inputs.recorded(inputs.run(session, encoded, 2), encoded, known)
        shown.append({inputs.key: inputs.example(value), "label": said, "logits": numbers})
    held = Examples.model_validate({"max_abs_error": 1e-4, "examples": shown})
    pack(folder, info=info, examples=held, card="# faq\n", lineage={})
    return made, folder


def test_the_bundle_says_what_the_model_says(bundle: tuple[Built, Path]) -> None:
    built, folder = bundle
    found = table(10)
    params = type("Params", (), {"max_abs_error": 1e-4, "min_agreement": 1.0})
    parity = prove(TASK, built, folder / "model.onnx", found, params, seed=1)  # type: ignore[arg-type]
    assert parity.rows == len(found)
    examples = TASK.encode(built, found)
    outputs = predict(TASK, built, examples, batch_tokens=2048)
    answers = load(folder).predict(list(zip(found["question"], found["context"], strict=True)))
    assert [one.text for one in answers] == TASK.said(outputs, examples)
    assert {one.text == "" for one in answers} == {True, False}
    for one, context in zip(answers, found["context"], strict=True):
        assert one.text == ("" if one.start is None else context[one.start : one.end])


BLOCKER = """
import json, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "transformers", "pandas", "pydantic", "sklearn", "PIL"}:
            raise ImportError(f"blocked: {name}")
sys.meta_path.insert(0, Blocker())
from finetide.runtime import load
found = load(sys.argv[1]).predict([tuple(pair) for pair in json.load(sys.stdin)])
print(json.dumps([[one.text, one.start, one.end, one.score] for one in found]))
"""


def test_without_torch_it_gives_the_same_answers(bundle: tuple[Built, Path]) -> None:
    _, folder = bundle
    found = table(10)
    pairs = list(zip(found["question"], found["context"], strict=True))
    done = subprocess.run(
        [sys.executable, "-c", BLOCKER, str(folder)], input=json.dumps(pairs), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    mine = load(folder).predict(pairs)
    assert json.loads(done.stdout) == [[one.text, one.start, one.end, one.score] for one in mine]


def test_the_bundle_replays_its_examples_and_a_changed_answer_is_found(bundle: tuple[Built, Path]) -> None:
    import shutil

    from finetide.files import read_json, sha256_file, write_json

    _, folder = bundle
    assert verify(folder).examples == 5
    other = folder.parent / "other"
    shutil.copytree(folder, other)
    found = read_json(other / "examples.json")
    found["examples"][0]["label"] = "something else"
    write_json(other / "examples.json", found)
    manifest = read_json(other / "manifest.json")
    manifest["files"]["examples.json"] = sha256_file(other / "examples.json")
    write_json(other / "manifest.json", manifest)
    with pytest.raises(IntegrityError, match="where something else was recorded"):
        verify(other)
    (other / "reading.json").write_text(json.dumps({"stride": 1}))
    manifest["files"]["reading.json"] = sha256_file(other / "reading.json")
    write_json(other / "manifest.json", manifest)
    with pytest.raises(IntegrityError, match=r"reading.json: does not say how contexts are read"):
        load(other)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("Who?", "predict takes a list of questions, not one"),
        (["Who?"], r"questions\[0\]: is no question with its context \(found 'str'\)"),
        ([("Who?", "a", "b")], r"questions\[0\]: is no question with its context"),
        ([("Who?", "He."), {"question": "Who?"}], r"questions\[1\]: has no context \(found 'question'\)"),
        ([("Who?", 3)], r"questions\[0\]: context is no text \(found 'int'\)"),
        ([(" ", "He.")], r"questions\[0\]: question is empty"),
    ],
)
def test_what_is_no_question_is_refused(bundle: tuple[Built, Path], asked: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load(bundle[1]).predict(asked)  # type: ignore[arg-type]


def test_bases_that_cannot_read_pairs_or_are_of_another_task_are_refused(base: Path, tmp_path: Path) -> None:
    import json
    import shutil

    shutil.copytree(base, tmp_path / "single")
    path = tmp_path / "single" / "tokenizer.json"
    document = json.loads(path.read_text())
    document["post_processor"] = None
    path.write_text(json.dumps(document))
    with pytest.raises(BaseModelError, match="the tokenizer puts no special token before a pair of texts"):
        TASK.build(tmp_path / "single", SETTINGS, seed=1)
    shutil.copytree(base, tmp_path / "labels")
    (tmp_path / "labels" / "labels.json").write_text('["refund", "login"]')
    with pytest.raises(BaseModelError, match=r"was trained for another task \(found 'refund, login'\)"):
        TASK.build(tmp_path / "labels", SETTINGS, seed=1)
    with pytest.raises(BaseModelError, match="takes at most 96 tokens"):
        TASK.build(base, replace(SETTINGS, max_length=400), seed=1)
    with pytest.raises(ConfigError, match="question-answering has no such objective"):
        TASK.objective("masked-language")


@pytest.mark.slow
@pytest.mark.parametrize("family", ["Bert", "Roberta", "DistilBert", "Electra", "MPNet", "ModernBert", "DebertaV2"])
def test_every_encoder_of_text_passes_the_gate(family: str, tmp_path: Path) -> None:
    micro_base(tmp_path, layers=1, family=family)
    settings = replace(SETTINGS, max_length=60, extra={"stride": 12, "max_question": 24, "max_answer": 6})
    built = TASK.build(tmp_path, settings, seed=1)
    with torch.no_grad():
        built.module.head.weight.normal_(generator=torch.Generator().manual_seed(2))  # type: ignore[union-attr,operator]
    onnx_file.export(TASK.export(built), tmp_path / "made.onnx", opset=18)
    params = type("Params", (), {"max_abs_error": 1e-4, "min_agreement": 0.99})
    assert prove(TASK, built, tmp_path / "made.onnx", table(4), params, seed=1).passed  # type: ignore[arg-type]
