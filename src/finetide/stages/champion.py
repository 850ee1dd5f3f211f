"""The model in service that the window pins, for the stages that ask it."""

from __future__ import annotations

from pathlib import Path

from finetide import runtime
from finetide.config.stage import Stage
from finetide.contracts.window import Window
from finetide.errors import IntegrityError, ProjectError


def pinned(stage: Stage, window: Window) -> runtime.Predictor | None:
    """The bundle in serving/ that the window pins; None where nothing is in service yet.

    Raises:
        ProjectError: when it is not in serving/. IntegrityError: when its bytes are another bundle's.
    """
    if window.champion is None:
        return None
    folder = Path("serving", stage.model, window.champion.hash, "bundle")
    if not (stage.root / folder).is_dir():
        raise ProjectError(
            f"the champion's bundle ({window.champion.version}) is missing",
            where=folder.as_posix(),
            fix=f"finetide run {stage.model}",
        )
    champion = runtime.load(stage.root / folder)
    if champion.hash != window.champion.hash:
        raise IntegrityError(
            f"is not the bundle that the window pins as {window.champion.version}",
            where=folder.as_posix(),
            found=champion.hash,
            fix=f"delete the folder, then: finetide run {stage.model}",
        )
    return champion
