"""Small trainings in which every part of the engine that must survive a kill is at work, and what each ends with."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from finetide.engine import checkpoint, loop, probe, tune
from finetide.engine.checkpoint import Checkpoints, optimizer_tensors
from finetide.engine.progress import Curve
from finetide.engine.specs import AverageSpec, Data, PhaseSpec, SoupSpec
from finetide.layers.policies import Adapting, Named
from finetide.layers.rules import Adapter
from unit.engine.test_loop import PROBE, TASK, build, frame, settings, spec

PLACE_BYTES = 80
FULL = spec(policy=Named("full"), epochs=2)
UPPER = spec(policy=Named("last", 1), epochs=3)
LORA = spec(policy=Adapting(Adapter("lora", 4, 8.0, 0.1), "linear"), epochs=2, learning_rate=1e-2)
DORA = replace(LORA, policy=Adapting(Adapter("dora", 4, 8.0, 0.1), "linear"))
GRADUAL = spec(policy=Named("gradual", 0.6), epochs=3)
PROGRESSIVE = spec(policy=Named("progressive", 0.99), epochs=3, patience=99)
ADAPT = spec(objective="masked-language", rows="all", epochs=2, policy=Named("full"))
AUTO = spec(policy=Named("auto", 40), epochs=1)
MIX = AverageSpec((1, 2), (0.25, 0.5, 0.75))
KEPT, PACKED = {"cache": True}, {"packing": "always"}

# What is trained, and what the settings are: ``cache`` keeps the activations of frozen prefixes, and of the probe.
COMBINATIONS: dict[str, tuple[list[PhaseSpec], dict[str, Any]]] = {
    "full": ([PROBE, FULL], {}),
    "full, packed": ([PROBE, FULL], PACKED),
    "last, cache": ([PROBE, UPPER], KEPT),
    "last, cache, packed": ([UPPER], {**KEPT, **PACKED}),
    "lora": ([PROBE, LORA], {}),
    "lora, cache, packed": ([PROBE, LORA], {**KEPT, **PACKED}),
    "dora, then full": ([DORA, FULL], {}),
    "gradual": ([PROBE, GRADUAL], {}),
    "gradual, cache": ([PROBE, GRADUAL], KEPT),
    "progressive, cache, packed": ([PROGRESSIVE], {**KEPT, **PACKED}),
    "bitfit, soup": ([PROBE, replace(FULL, policy=Named("bitfit"), remember=3), SoupSpec(1, 3)], {}),
    "average": ([PROBE, FULL, replace(FULL, learning_rate=3e-3), MIX], {}),
    "lora, average, packed": ([PROBE, LORA, FULL, MIX], PACKED),
    "adapt": ([ADAPT, PROBE, FULL], {}),
    "adapt, last, cache, packed": ([ADAPT, PROBE, UPPER], {**KEPT, **PACKED}),
    "auto, cache": ([PROBE, AUTO], KEPT),
}  # fmt: skip


def run(base: Path, folder: Path, combination: str) -> None:
    """Train in ``folder``, or go on with what is there; at the end write ``ending.json``, and all along ``place``."""
    phases, given = COMBINATIONS[combination]
    given = dict(given)
    if given.pop("cache", False):
        given |= {"feature_cache": folder / "features", "prefix_cache": folder / "prefix", "prefix_cache_gib": 1.0}
    built, data = build(base)
    texts = frame(60, 5).assign(label=None)
    inputs = {"all": (TASK.encode(built, texts), TASK.encode(built, texts.head(20)))}
    curve = Curve(folder / "curve.csv")
    with _watched(folder / "place") as optimizers:
        result = loop.train(
            TASK, built, Data(data.train, data.validation, inputs), phases, settings(**given), curve,
            Checkpoints(folder / "checkpoints" / "key"),
        )  # fmt: skip
    weights = {name: digest(value) for name, value in built.module.state_dict().items()}
    told = [asdict(phase) for phase in result.phases]
    ending = {"weights": weights, "phases": told, "kept": result.kept, "proof": result.proof, "optimizers": optimizers}
    ending["curve"] = hashlib.sha256(curve.path.read_bytes()).hexdigest()
    (folder / "ending.json").write_text(json.dumps(ending), encoding="utf-8")


def digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.detach().contiguous().numpy().tobytes()).hexdigest()


@contextmanager
def _watched(place: Path) -> Iterator[dict[str, dict[str, str]]]:
    """Gives the state of each phase's optimizer when the phase ended, digests by parameter, of those phases that ended
    in this process. What is being done stands in the file ``place``: the one who is killed cannot tell."""
    optimizers: dict[str, dict[str, str]] = {}
    handle = os.open(place, os.O_RDWR | os.O_CREAT)
    within: list[str] = []

    def say() -> None:
        os.pwrite(handle, " > ".join(within).encode()[:PLACE_BYTES].ljust(PLACE_BYTES), 0)

    def told(what: str, owner: Any, name: str) -> tuple[Any, str, Callable[..., Any]]:
        original = getattr(owner, name)

        def called(*arguments: Any, **named: Any) -> Any:
            within.append(what)
            say()
            try:
                return original(*arguments, **named)
            finally:
                within.pop()
                say()

        setattr(owner, name, called)
        return owner, name, original

    def ended(tuner: tune.Tuner, *arguments: Any) -> Any:
        state = optimizer_tensors(tuner.optimizer, tuner.names)
        optimizers[str(tuner.index)] = {name: digest(value) for name, value in state.items()}
        return result(tuner, *arguments)

    undo = [
        told("step", tune.Tuner, "_step"),
        told("evaluation", tune.Tuner, "_evaluate"),
        told("phase", tune.Tuner, "run"),
        told("frozen prefix", tune.Tuner, "_keep_prefix"),
        told("probe", probe, "fit"),
        told("embeddings", loop, "embed"),
        told("average", loop, "average"),
        told("soup", loop, "soup"),
        told("auto", loop.auto, "arbitrate"),
        told("checkpoint", checkpoint.Checkpoints, "save"),
    ]
    result = tune.Tuner._result
    undo.append((tune.Tuner, "_result", result))
    tune.Tuner._result = ended  # type: ignore[method-assign]
    try:
        yield optimizers
    finally:
        for owner, name, original in undo:
            setattr(owner, name, original)
        os.close(handle)
