"""Tiny random encoders: real files, real architectures, seconds to train."""

from __future__ import annotations

import json
import shutil
import string
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

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


# Family → settings of its config class, and whether its tokenizer works on bytes.
SIZES: dict[str, Any] = {
    "hidden_size": HIDDEN, "num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 64,
}  # fmt: skip
FAMILIES: dict[str, tuple[dict[str, Any], bool]] = {
    "Bert": (SIZES, False),
    "Electra": ({**SIZES, "embedding_size": 16}, False),
    "DistilBert": ({"dim": HIDDEN, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 64}, False),
    "DebertaV2": ({**SIZES, "relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"]}, False),
    "MPNet": ({**SIZES, "max_position_embeddings": 66, "pad_token_id": 1}, True),
    "Roberta": ({**SIZES, "max_position_embeddings": 66, "type_vocab_size": 1, "pad_token_id": 1}, True),
    "ModernBert": ({**SIZES, "pad_token_id": 1, "cls_token_id": 0, "sep_token_id": 2}, True),
}


@cache
def _made(family: str, layers: int) -> Path:
    import logging

    import torch
    import transformers

    logging.getLogger("transformers").setLevel(logging.ERROR)
    folder = Path(tempfile.mkdtemp(prefix="finetide-micro-"))
    settings, on_bytes = FAMILIES[family]
    size = _byte_tokenizer(folder) if on_bytes else _word_tokenizer(folder)
    torch.manual_seed(7)
    deep = {"n_layers" if family == "DistilBert" else "num_hidden_layers": layers}
    ends = {"bos_token_id": 0, "eos_token_id": 2} if on_bytes else {}
    config = getattr(transformers, f"{family}Config")(vocab_size=size, **settings, **deep, **ends)
    getattr(transformers, f"{family}Model")(config).save_pretrained(folder)
    return folder


def _word_tokenizer(folder: Path) -> int:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = vocabulary()
    tokenizer = Tokenizer(models.WordPiece({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", words.index("[CLS]")), ("[SEP]", words.index("[SEP]"))],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "model_max_length": 64}))
    return len(words)


def _byte_tokenizer(folder: Path) -> int:
    """Byte-level BPE as RoBERTa has it: no unknown word, the space is part of the token, padding has the id 1."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator([f" {word}" for word in vocabulary()], trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    return int(tokenizer.get_vocab_size())


def micro_base(folder: Path, *, layers: int = LAYERS, family: str = "Bert") -> str:
    """Write the base into ``folder``; returns the SHA-256 of its model.safetensors."""
    shutil.copytree(_made(family, layers), folder, dirs_exist_ok=True)
    return sha256_file(folder / "model.safetensors")
