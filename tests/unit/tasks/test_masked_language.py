"""Masking: which tokens, how often, drawn anew or not; the loss is plain torch's; the classifier learns from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertForMaskedLM

from finetide.errors import ConfigError
from finetide.tasks.masked_language import IGNORED, MaskedLanguage, MaskedModel, _mask, _mask_row, _special
from support.micro import FAMILIES, micro_base
from unit.engine.test_loop import TASK, build

ADAPT = MaskedLanguage()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masked") / "b"
    micro_base(folder)
    return folder


def test_of_the_chosen_tokens_eight_in_ten_are_masked_one_drawn_one_left() -> None:
    tokens = np.array([2, *([7] * 2000), 3])
    drawn, chosen = _mask_row(tokens, frozenset({2, 3}), 4, 5000, np.random.default_rng(0))
    assert len(chosen) == 300
    assert len(set(chosen.tolist())) == 300
    assert not {0, 2001} & set(chosen.tolist())
    untouched = np.setdiff1d(np.arange(2002), chosen)
    assert (drawn[untouched] == tokens[untouched]).all()
    fates = [float((drawn[chosen] == 4).mean()), float((drawn[chosen] == 7).mean())]
    assert fates == pytest.approx([0.8, 0.1], abs=0.06)


def test_a_text_of_special_tokens_alone_has_nothing_to_guess() -> None:
    drawn, chosen = _mask_row(np.array([2, 3]), frozenset({2, 3}), 4, 50, np.random.default_rng(0))
    assert drawn.tolist() == [2, 3]
    assert not len(chosen)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "Electra"])
def test_a_batch_hides_what_it_asks_for(family: str, tmp_path: Path) -> None:
    micro_base(tmp_path / "base", layers=2, family=family)
    built, data = build(tmp_path / "base")
    wrapped = ADAPT.wrap(built, seed=1)
    index = [0, 5, 9]
    batch = ADAPT.collate(wrapped, data.train, index, seed=3)
    chosen = batch["targets"] != IGNORED
    assert chosen.any(1).all()
    for row, place in enumerate(index):
        tokens = torch.tensor(data.train.inputs[place])
        length = len(tokens)
        assert int(batch["attention_mask"][row].sum()) == length
        assert torch.equal(batch["targets"][row, :length][chosen[row, :length]], tokens[chosen[row, :length]])
        assert not {int(token) for token in tokens[chosen[row, :length]]} & _special(wrapped)
    assert (batch["input_ids"][chosen] == _mask(wrapped)).float().mean() > 0.4
    again, other, scored, scored_again = (
        ADAPT.collate(wrapped, data.train, index, seed=seed)["input_ids"] for seed in (3, 4, None, None)
    )
    assert torch.equal(again, batch["input_ids"])
    assert not torch.equal(other, batch["input_ids"])
    assert torch.equal(scored, scored_again)
    outputs = ADAPT.outputs(wrapped.module.eval(), batch)
    assert outputs.shape == (3, 3)
    assert torch.equal(outputs[:, 1], chosen.sum(1).float())


def test_the_loss_is_that_of_transformers_own_model(base: Path) -> None:
    built, data = build(base)
    wrapped = ADAPT.wrap(built, seed=1)
    module = wrapped.module.eval()
    assert isinstance(module, MaskedModel)
    theirs = BertForMaskedLM(module.encoder.config).eval()
    theirs.bert.load_state_dict(module.encoder.state_dict(), strict=False)
    head = theirs.cls.predictions
    head.transform.dense.load_state_dict(module.head["dense"].state_dict())
    head.transform.LayerNorm.load_state_dict(module.head["norm"].state_dict())
    head.transform.LayerNorm.eps = module.head["norm"].eps
    with torch.no_grad():
        head.bias.copy_(module.head["out"].bias)
        head.decoder.weight.copy_(module.encoder.get_input_embeddings().weight)
        batch = ADAPT.collate(wrapped, data.train, [4], seed=5)
        ours = ADAPT.loss(ADAPT.outputs(module, batch), batch)
        expected = theirs(batch["input_ids"], batch["attention_mask"], labels=batch["targets"]).loss
    assert float(ours[0]) == pytest.approx(float(expected), abs=1e-5)


def test_what_it_learns_the_classifier_has_learned(base: Path) -> None:
    built, data = build(base)
    wrapped = ADAPT.wrap(built, seed=1)
    before = built.module.get_parameter("encoder.encoder.layer.0.attention.self.query.weight").detach().clone()
    optimizer = torch.optim.AdamW(wrapped.module.parameters(), lr=1e-2)
    batch = ADAPT.collate(wrapped, data.train, range(32), seed=5)
    losses = []
    for _ in range(10):
        loss = ADAPT.loss(ADAPT.outputs(wrapped.module, batch), batch).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] * 0.8
    after = built.module.get_parameter("encoder.encoder.layer.0.attention.self.query.weight")
    assert not torch.equal(before, after)


def test_what_cannot_be_masked_is_refused(base: Path, tmp_path: Path) -> None:
    micro_base(tmp_path / "electra", family="Electra")
    built, _ = build(tmp_path / "electra")
    with pytest.raises(ConfigError, match="needs word embeddings of the hidden size, 32"):
        ADAPT.wrap(built, seed=1)
    built, _ = build(base)
    built.preprocessor.tokenizer.model = type(built.preprocessor.tokenizer.model)({"[UNK]": 0}, unk_token="[UNK]")
    with pytest.raises(ConfigError, match="needs a mask token, and the base's tokenizer has none"):
        ADAPT.wrap(built, seed=1)
    with pytest.raises(ConfigError, match="has no such objective"):
        TASK.objective("next-sentence")
