"""The report of a model: one HTML page that holds everything it shows and loads nothing."""

from finetide.report.page import build, write

__all__ = ["build", "write"]
