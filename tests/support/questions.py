"""Small contexts with questions that a tiny model learns to answer, files of them, and a tiny base that knows pairs."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from finetide.config.stage import Stage
from finetide.contracts.shift import Recipe
from finetide.contracts.window import Window, WindowFile
from finetide.data.suites import default_suite
from finetide.files import sha256_bytes, sha256_file, write_json
from finetide.pipeline import codelock

MODEL = "faq"

THINGS = ("bridge", "tower", "mill", "harbour", "library", "station", "garden", "theatre", "canal", "market")
PLACES = ("north", "south", "east", "west", "upper", "lower", "old", "new", "great", "little")
PEOPLE = ("anna", "boris", "clara", "david", "emma", "felix", "greta", "henry", "ida", "jonas", "karla", "louis")
COLOURS = ("red", "blue", "green", "white", "black", "yellow", "brown", "grey")
FRAMES = (
    "The {place} {thing} was planned for many years. {who} built it in {year}, and its walls are {colour}. It is "
    "{high} metres high, and people like it.",
    "Everybody knows the {place} {thing}. Its walls are {colour}. It was {who} who built it in {year}. With {high} "
    "metres it is rather high.",
    "In {year} the {place} {thing} was built by {who}. It is {high} metres high. Its walls are {colour} to this day.",
)
ASKED = {
    "who": "Who built the {place} {thing}?",
    "year": "When was the {place} {thing} built?",
    "colour": "Which colour have the walls of the {place} {thing}?",
    "high": "How high is the {place} {thing}?",
}
# A later hand: other words and longer sentences, the same questions.
LATER = (
    "Travellers who come to see the {place} {thing} should bring time, for the road is long and the weather is bad. "
    "The walls, painted {colour}, rise {high} metres. An inscription says {year}, and below it the name of {who}.",
)
UNASKABLE = ("What does it cost to enter the {place} {thing}?", "Who owns the {place} {thing} today?")


def rows(count: int, *, start: int = 0, without: int = 0, later: bool = False) -> list[dict[str, Any]]:
    """Rows (id, title, question, context, answers) about ``count`` contexts, four a context, and to every ``without``th
    context a question that has no answer in it."""
    made = []
    for number in range(start, start + count):
        chance = np.random.default_rng([7, number])
        frames = LATER if later else FRAMES
        facts = {
            "place": PLACES[number % 10], "thing": THINGS[number // 10 % 10], "who": str(chance.choice(PEOPLE)),
            "colour": str(chance.choice(COLOURS)), "year": str(chance.integers(1700, 1990)),
            "high": str(chance.integers(11, 99)),
        }  # fmt: skip
        context = frames[number % len(frames)].format(**facts)
        for key, question in ASKED.items():
            at = re.search(rf"\b{facts[key]}\b", context).start()  # type: ignore[union-attr]
            made.append(
                {
                    "id": f"q{number}-{key}", "title": facts["thing"], "question": question.format(**facts),
                    "context": context, "answers": [{"text": facts[key], "answer_start": at}],
                }
            )  # fmt: skip
        if without and number % without == 0:
            question = UNASKABLE[number // without % 2].format(**facts)
            made.append(
                {
                    "id": f"q{number}-none",
                    "title": facts["thing"],
                    "question": question,
                    "context": context,
                    "answers": [],
                }
            )
    return made


def squad(found: list[dict[str, Any]], version: str = "v2.0") -> dict[str, Any]:
    """SQuAD's shape: an article a title, a paragraph a context."""
    titles: dict[str, dict[str, list[Any]]] = {}
    for row in found:
        asked = {"id": row["id"], "question": row["question"], "answers": row["answers"]}
        if version == "v2.0":
            asked["is_impossible"] = not row["answers"]
        titles.setdefault(row["title"], {}).setdefault(row["context"], []).append(asked)
    data = [
        {"title": title, "paragraphs": [{"context": context, "qas": qas} for context, qas in contexts.items()]}
        for title, contexts in titles.items()
    ]
    return {"version": version, "data": data}


def write_squad(path: Path, found: list[dict[str, Any]], version: str = "v2.0") -> Path:
    path.write_text(json.dumps(squad(found, version), ensure_ascii=False), encoding="utf-8")
    return path


def write_jsonl(path: Path, found: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found), encoding="utf-8")
    return path


def split_table(contexts: int = 30, *, without: int = 3) -> pd.DataFrame:
    """What split leaves of so many contexts a role, as far as later stages look: of five, one validates, two test."""
    made = []
    for role, start in (("reference", 0), ("incoming", contexts)):
        for row in rows(contexts, start=start, without=without, later=role == "incoming"):
            number = int(row["id"][1:].split("-")[0])
            made.append(
                {
                    "row_id": f"{role}.json:{row['id']}", "role": role, "file": f"{role}.json", "line": number,
                    "label": "answerable" if row["answers"] else "unanswerable",
                    "split": ("train", "train", "validation", "test", "test")[number % 5], "group": None,
                    "question": row["question"], "context": row["context"], "answers": json.dumps(row["answers"]),
                    "digest": sha256_bytes(f"{row['question']}\n{row['context']}".encode()), "name": row["question"],
                }
            )  # fmt: skip
    return pd.DataFrame(made)


def study_project(root: Path, found: pd.DataFrame, *, steps: int = 12) -> Path:
    """A project as the stages up to shift leave it. Args: root: not there yet; found: what split left."""
    write_project(root, write_squad(root.with_suffix(".json"), rows(2)), steps=steps)
    stage = Stage.open(root, "train", MODEL)
    for name in ("split.parquet", "recipe.json"):
        (root / stage.files.deps[name]).parent.mkdir(parents=True, exist_ok=True)
    found.to_parquet(root / stage.files.deps["split.parquet"])
    Recipe(verdict="none", replay=1.0, reason="").write(root / stage.files.deps["recipe.json"])
    return root


@cache
def _made(layers: int, positions: int) -> Path:
    import logging

    import torch
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    logging.getLogger("transformers").setLevel(logging.ERROR)
    folder = Path(tempfile.mkdtemp(prefix="finetide-micro-"))
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    texts = [text for later in (False, True) for row in rows(40, without=2, later=later) for text in
             (row["question"], row["context"])]  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    ends = [("[CLS]", tokenizer.token_to_id("[CLS]")), ("[SEP]", tokenizer.token_to_id("[SEP]"))]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(7)
    config = transformers.BertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=48, num_attention_heads=4, intermediate_size=96,
        max_position_embeddings=positions, num_hidden_layers=layers,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def micro_reader(folder: Path, *, layers: int = 2, positions: int = 96) -> str:
    """Write the base into ``folder``; returns the SHA-256 of its model.safetensors."""
    shutil.copytree(_made(layers, positions), folder, dirs_exist_ok=True)
    return sha256_file(folder / "model.safetensors")


def quick(params: Any, *, steps: int = 12) -> None:
    """Numbers that a micro model is done with in seconds."""
    params["shift"].update(permutations=199, max_rows=60, min_rows=20)
    params["train"].update(precision="fp32")
    (phase,) = params["train"]["phases"]
    phase["duration"].update(epochs=None, steps=steps)
    phase.update(learning_rate=2.0e-3, evaluations_per_epoch=1)
    params["evaluate"]["bootstrap"] = 50
    params["judge"].update(bootstrap=50, floor=0.0, non_inferiority_margin=0.5, slice_margin=0.9)


def write_project(root: Path, reference: Path, incoming: Path | None = None, **options: Any) -> Path:
    """What `finetide init` writes, without git and DVC."""
    root.mkdir(parents=True)
    micro_reader(root / "base", layers=1)
    yaml = YAML()
    preset = yaml.load((files("finetide.init") / "presets" / "question-answering.yaml").read_text(encoding="utf-8"))
    preset["base"].update(source="path:base", revision=None, sha256=sha256_file(root / "base" / "model.safetensors"))
    preset["train"].update(max_length=80, stride=16, max_question=24, max_answer=8)
    quick(preset, **options)
    with (root / "params.yaml").open("w", encoding="utf-8") as stream:
        yaml.dump({"schema": 1, "models": {MODEL: preset}}, stream)
    (root / "dvc.yaml").write_bytes((files("finetide.init") / "graph.yaml").read_bytes())
    data, named = root / "data" / MODEL, []
    (data / "raw").mkdir(parents=True)
    for path, role in ((reference, "reference"), (incoming, "incoming")):
        if path is not None:
            shutil.copy(path, data / "raw")
            named.append(WindowFile(path=path.name, sha256=sha256_file(path), role=role))
    Window(model=MODEL, start="base", champion=None, files=tuple(named)).write(data / "window.json")
    write_json(data / "suite.json", default_suite("question-answering"))
    (root / "approvals" / MODEL).mkdir(parents=True)
    codelock.refresh(root)
    return root
