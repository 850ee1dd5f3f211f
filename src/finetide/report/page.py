"""Puts the facts into the template. Everything that came from data is escaped by it."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from finetide.files import write_text
from finetide.report import content, words
from finetide.report.decision import decide
from finetide.report.gather import SHOWN, gather


def build(root: Path, model: str) -> str:
    """The whole page. Raises: ProjectError without a dvc.yaml, IntegrityError for a file of another shape."""
    facts = gather(root, model)
    pages = environment(Path(__file__).parent)
    pages.filters.update(
        {
            name: getattr(words, name)
            for name in ("count", "measure", "named", "number", "percent", "sentence", "short", "tiny")
        }
    )
    return pages.get_template("page.html").render(
        facts=facts,
        decision=decide(facts),
        style=style(),
        shown=SHOWN,
        metric_names=content.metric_names(facts),
        kinds=content.kind_table(facts),
        of_answers=content.is_of_answers(facts),
        role_names=words.ROLE_NAMES,
        headline=content.headline(facts),
        data=content.data_table(facts),
        scores=content.score_table(facts),
        training_charts=content.training_charts(facts),
        score_charts=content.score_charts(facts),
        labels=content.label_table(facts),
        confusion=content.confusion_chart(facts),
        confused=content.confused_pairs(facts),
        calibration=content.calibration_chart(facts),
        worse_calibration=words.worse_calibration(facts.metrics) if facts.metrics else [],
        served="int8" if facts.info and facts.info.default_graph == "model.int8.onnx" else "fp32",
    )


def environment(folder: Path) -> Environment:
    """Where pages of ``folder`` are made: what is not Markup is escaped, a name that is not given is an error."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def style() -> Markup:
    """The look of all pages; our own file, no data in it."""
    return Markup((Path(__file__).parent / "page.css").read_text(encoding="utf-8"))


def report_path(root: Path, model: str) -> Path:
    """Where the page lies: git-ignored, and no stage's output."""
    return root / ".finetide" / "reports" / f"{model}.html"


def write(root: Path, model: str) -> Path:
    """Write the page and return its path."""
    path = report_path(root, model)
    write_text(path, build(root, model))
    return path
