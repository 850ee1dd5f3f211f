"""Masked-language modelling, to adapt an encoder to a domain before it is tuned on labels (Gururangan et al. 2020).

As BERT was trained (Devlin et al. 2019): a share of the tokens is chosen; of those 80 % become the mask token, 10 % a
random one, 10 % stay; the model says what stood there. The output matrix is the word embeddings' own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from finetide.errors import ConfigError
from finetide.seeding import derive, generator
from finetide.task import Built, Examples

MASKS = ("[MASK]", "<mask>")
SHARE = 0.15
IGNORED = -100
Batch = Mapping[str, torch.Tensor]


class MaskedModel(nn.Module):
    """The encoder of a classifier with a fresh head: dense → GELU → norm → word embeddings, transposed, and a bias.

    ``sums`` [batch, 3]: of each row the summed cross-entropy, the number of chosen tokens, and of those guessed right.
    """

    def __init__(self, encoder: nn.Module, *, has_types: bool) -> None:
        super().__init__()
        self.encoder = encoder
        words, size = self._words().shape
        self.head = nn.ModuleDict({"dense": nn.Linear(size, size), "norm": nn.LayerNorm(size), "out": _Bias(words)})
        self.has_types = has_types

    def _words(self) -> torch.Tensor:
        found: torch.Tensor = self.encoder.get_input_embeddings().weight  # type: ignore[operator]
        return found

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        types = {"token_type_ids": torch.zeros_like(input_ids)} if self.has_types else {}
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **types).last_hidden_state
        rows, places = (targets != IGNORED).nonzero(as_tuple=True)
        chosen = self.head["norm"](nn.functional.gelu(self.head["dense"](hidden[rows, places])))
        logits = self.head["out"](nn.functional.linear(chosen, self._words())).float()
        wanted = targets[rows, places]
        losses = nn.functional.cross_entropy(logits, wanted, reduction="none")
        right = (logits.argmax(1) == wanted).float()
        zeros = torch.zeros(len(input_ids), dtype=torch.float32, device=input_ids.device)
        sums = [zeros.index_add(0, rows, values) for values in (losses, torch.ones_like(losses), right)]
        return torch.stack(sums, dim=1)


class _Bias(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values + self.bias


class MaskedLanguage:
    """The objective; holds no state."""

    name = "masked-language"
    metric = "share of masked tokens"

    def draws(self, built: Built) -> bool:
        del built
        return True

    def wrap(self, built: Built, *, seed: int) -> Built:
        """Raises: ConfigError: the tokenizer has no mask token, or words and hidden states differ in size."""
        encoder = built.module.get_submodule("encoder")
        _mask(built)
        words, hidden = encoder.get_input_embeddings(), int(encoder.config.hidden_size)  # type: ignore[operator,union-attr,arg-type]
        if words.weight.shape[1] != hidden:
            raise ConfigError(
                f"masked-language modelling needs word embeddings of the hidden size, {hidden}",
                found=words.weight.shape[1],
                fix="leave the adapt phase out, or choose another base",
            )
        torch.manual_seed(derive(seed, "masked-language"))
        module = MaskedModel(encoder, has_types=built.preprocessor.has_types)
        return replace(built, module=module.train(built.module.training))

    def packs(self, built: Built) -> bool:
        """Never: the loss is a row's mean, and a row would be several texts."""
        del built
        return False

    def collate(
        self,
        built: Built,
        examples: Examples,
        index: Sequence[int],
        *,
        seed: int | None = None,
        width: int | None = None,
    ) -> dict[str, torch.Tensor]:
        """``targets`` [batch, longest] int64: the token that stood at each chosen place, -100 elsewhere.

        Without a seed a row's places are drawn from its own tokens: the same in every scoring.
        """  # fmt: skip
        assert width is None, "see packs"
        longest = max(len(examples.inputs[place]) for place in index)
        ids = np.full((len(index), longest), built.preprocessor.pad_token_id, dtype=np.int64)
        mask = np.zeros((len(index), longest), dtype=np.int64)
        targets = np.full((len(index), longest), IGNORED, dtype=np.int64)
        special, words = _special(built), built.preprocessor.tokenizer.get_vocab_size()
        for row, place in enumerate(index):
            tokens = np.asarray(examples.inputs[place], dtype=np.int64)
            rng = generator(0 if seed is None else seed, "mask", place if seed is not None else tokens.tobytes().hex())
            drawn, chosen = _mask_row(tokens, special, _mask(built), words, rng)
            ids[row, : len(tokens)], mask[row, : len(tokens)] = drawn, 1
            targets[row, : len(tokens)][chosen] = tokens[chosen]
        tensors = {"input_ids": ids, "attention_mask": mask, "targets": targets}
        return {name: torch.from_numpy(value) for name, value in tensors.items()}

    def outputs(self, module: nn.Module, batch: Batch) -> torch.Tensor:
        found: torch.Tensor = module(batch["input_ids"], batch["attention_mask"], batch["targets"])
        return found

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Mean over a row's chosen tokens; every row counts the same."""
        del batch
        return outputs[:, 0] / outputs[:, 1].clamp(min=1.0)

    def score(self, outputs: torch.Tensor, examples: Examples) -> tuple[float, float]:
        """Share of the chosen tokens that are guessed right, and their mean loss."""
        del examples
        loss, chosen, right = outputs.double().sum(0).tolist()
        return right / max(chosen, 1.0), loss / max(chosen, 1.0)

    def confidence(self, outputs: np.ndarray[Any, Any], examples: Examples) -> None:
        """Its outputs are no probabilities."""
        del outputs, examples


def _mask_row(
    tokens: np.ndarray[Any, Any], special: frozenset[int], mask: int, words: int, rng: np.random.Generator
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Returns: the tokens with some replaced, and the places that were chosen; at least one where there is a word."""
    places = np.array([place for place, token in enumerate(tokens) if int(token) not in special], dtype=np.int64)
    if not len(places):
        return tokens, places
    count = max(1, round(len(places) * SHARE))
    chosen = np.sort(rng.choice(places, size=count, replace=False))
    fate, drawn = rng.random(count), tokens.copy()
    drawn[chosen[fate < 0.8]] = mask
    random = chosen[fate >= 0.9]
    drawn[random] = rng.integers(0, words, size=len(random))
    return drawn, chosen


def _special(built: Built) -> frozenset[int]:
    """What is no word: tokens that the tokenizer calls special, and those that it puts around every text."""
    tokenizer = built.preprocessor.tokenizer
    added = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    return frozenset(added | set(tokenizer.encode("").ids))


def _mask(built: Built) -> int:
    for name in MASKS:
        found = built.preprocessor.tokenizer.token_to_id(name)
        if found is not None:
            return int(found)
    raise ConfigError(
        "masked-language modelling needs a mask token, and the base's tokenizer has none",
        where="train.phases",
        fix=f"leave the adapt phase out, or choose a base with {' or '.join(MASKS)}",
    )
