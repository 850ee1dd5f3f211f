"""Serves a bundle with numpy, onnxruntime and tokenizers or Pillow alone; neither torch, transformers nor pydantic."""

from finetide.runtime.predictor import Prediction, Predictor, load
from finetide.runtime.verify import VerifyReport, verify

__all__ = ["Prediction", "Predictor", "VerifyReport", "load", "verify"]
