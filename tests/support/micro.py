"""A tiny random BERT: real files, real architecture, seconds to train."""

from __future__ import annotations

import json
import shutil
import string
import tempfile
from functools import cache
from pathlib import Path

from finetide.files import sha256_file
from support.messages import FILLERS, WORDS

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
HIDDEN, LAYERS = 32, 2


def vocabulary() -> list[str]:
    """Special tokens, every letter and digit alone and as a continuation, and the words of `support.messages`."""
    signs = string.ascii_lowercase + string.digits
    words = {word for labels in WORDS.values() for group in labels.values() for word in group}
    words |= {word for group in FILLERS.values() for word in group}
    return [*SPECIAL, *signs, *(f"##{sign}" for sign in signs), *string.punctuation, *sorted(words - set(signs))]


@cache
def _made(layers: int) -> Path:
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    folder = Path(tempfile.mkdtemp(prefix="finetide-micro-"))
    words = vocabulary()
    tokenizer = Tokenizer(models.WordPiece({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", words.index("[CLS]")), ("[SEP]", words.index("[SEP]"))]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "model_max_length": 64}))
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=HIDDEN,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def micro_base(folder: Path, *, layers: int = LAYERS) -> str:
    """Write the base into ``folder``; returns the SHA-256 of its model.safetensors."""
    shutil.copytree(_made(layers), folder, dirs_exist_ok=True)
    return sha256_file(folder / "model.safetensors")
