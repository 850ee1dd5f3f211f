"""Serves a bundle with numpy, onnxruntime and tokenizers or Pillow alone; neither torch, transformers nor pydantic."""

from finetide.runtime.labels import Prediction
from finetide.runtime.predictor import Predictor, load
from finetide.runtime.requests import RequestLog
from finetide.runtime.verify import VerifyReport, verify

__all__ = ["Prediction", "Predictor", "RequestLog", "VerifyReport", "load", "verify"]
