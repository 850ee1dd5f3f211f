"""Finetide keeps fine-tuned models true to data that moves."""

__version__ = "0.1.0"
