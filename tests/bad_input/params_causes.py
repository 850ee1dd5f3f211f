"""params.yaml: what a person can get wrong in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bad_input.cause import Cause, Place
from support.project import MODEL, edit_params


def edited(change: Callable[[Any], None]) -> Callable[[Place], None]:
    return lambda place: edit_params(place.root, change)


def replaced(old: str, new: str) -> Callable[[Place], None]:
    """Replace one piece of the file's text."""

    def arrange(place: Place) -> None:
        path = place.root / "params.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return arrange


RUN = ("run", MODEL)
CAUSES = [
    Cause("unknown key", "a key with a typing error", RUN,
          edited(lambda p: p["train"].update(max_lenght=64)), 2,
          ("params.yaml", "models.mail.train.max_lenght", "unknown key", "did you mean 'max_length'")),
    Cause("not a number", "NaN as a learning rate", RUN,
          edited(lambda p: p["train"]["phases"][1].update(learning_rate=float("nan"))), 2,
          ("params.yaml", "models.mail.train.phases[1].learning_rate", "nan")),
]  # fmt: skip
