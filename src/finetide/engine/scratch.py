"""Random weights in a model's own architecture: what training is worth without the pre-training."""

from __future__ import annotations

import math

import torch
from torch import nn

# Of the weights, where the model's config does not say; BERT's (Devlin et al. 2019, their code).
STANDARD_DEVIATION = 0.02


def randomise(module: nn.Module, *, seed: int) -> None:
    """Draw the weights of ``module.encoder`` anew, as BERT-like encoders are before any training; the head stays.

    Matrices are normal with the config's ``initializer_range``, norms 1, biases and the padding's embedding 0. Where
    the model's paper scales by depth (ModernBERT), this is plainer.
    """
    encoder = module.get_submodule("encoder")
    # Convolutional nets whose config names no deviation: He et al. 2015, "Delving deep into rectifiers", eq. 14.
    plain = not hasattr(getattr(encoder, "config", None), "initializer_range")
    deviation = float(getattr(getattr(encoder, "config", None), "initializer_range", STANDARD_DEVIATION))
    assert math.isfinite(deviation)
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in encoder.named_parameters():
            if value.ndim == 4 and plain:
                fan = value.shape[0] * value.shape[2] * value.shape[3]
                drawn = torch.randn(value.shape, generator=chance, dtype=torch.float32) * math.sqrt(2 / fan)
                value.copy_(drawn)
            elif value.ndim >= 2:
                drawn = torch.randn(value.shape, generator=chance, dtype=torch.float32) * deviation
                value.copy_(drawn)
            else:
                value.fill_(0.0 if name.endswith("bias") else 1.0)
        for part in encoder.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.reset_running_stats()
            if isinstance(part, nn.Embedding) and part.padding_idx is not None:
                part.weight[part.padding_idx].zero_()
