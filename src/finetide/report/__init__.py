"""The report of a model: one HTML page that holds everything it shows and loads nothing."""

from finetide.report.page import build, report_path, write

__all__ = ["build", "report_path", "write"]
