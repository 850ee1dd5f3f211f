from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from finetide.data.tokens import count_tokens
from finetide.errors import BaseModelError


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    words = {"[CLS]": 0, "[SEP]": 1, "[UNK]": 2, "where": 3, "is": 4, "it": 5}
    made = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    # Files of bases come with both: neither may shorten or lengthen what is counted.
    made.enable_truncation(3)
    made.enable_padding(length=16)
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_special_tokens_count_and_nothing_is_cut_off_or_padded(tokenizer: Path) -> None:
    assert count_tokens(["where is it", "", "is it is it is it"], tokenizer) == [5, 2, 8]


def test_no_text_gives_no_count(tokenizer: Path) -> None:
    assert count_tokens([], tokenizer) == []


def test_a_broken_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BaseModelError, match=r"(?s)tokenizer.json: cannot be read: .*restore the base model's files"):
        count_tokens(["x"], tmp_path / "tokenizer.json")
