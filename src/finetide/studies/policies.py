"""Layer policies as the command line writes them."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from pydantic import TypeAdapter, ValidationError

from finetide.config.problems import describe
from finetide.config.train import NAMED_POLICIES, LayerPolicy, TunePhase
from finetide.errors import InputError

NUMBERED = ("last", "layerwise_decay", "gradual", "progressive", "auto")
ADAPTERS = ("lora", "rslora", "dora")
KNOWN = (*NAMED_POLICIES, *NUMBERED, *ADAPTERS)
RANK = 8
OPTION = "--policies"
EXAMPLE = f"e.g. {OPTION} head,last:2,layerwise_decay:0.9,lora:16,full"


def parse_policies(text: str) -> dict[str, LayerPolicy]:
    """``head,last:2,lora`` → the policies as params.yaml has them, by what was written, in its order and each once.

    ``name:value`` is ``{name: value}``; of an adapter the value is its rank, alpha twice that. Raises: InputError.
    """
    found: dict[str, LayerPolicy] = {}
    for written in (part.strip() for part in text.split(",")):
        layers = _parse(written)
        if layers not in found.values():
            found[written] = layers
    return found


def _parse(written: str) -> LayerPolicy:
    name, colon, value = written.partition(":")
    if name not in KNOWN:
        near = get_close_matches(name, KNOWN, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError("unknown layer policy", where=OPTION, found=name, fix=f"known: {', '.join(KNOWN)}{meant}")
    if name in NAMED_POLICIES and colon:
        raise InputError(f"{name} takes no value", where=OPTION, found=written, fix=f"write {name}")
    plain: Any = name
    if name in NUMBERED:
        plain = {name: _number(written, value)}
    elif name in ADAPTERS:
        rank = _number(written, value) if colon else RANK
        plain = {name: {"rank": rank, "alpha": 2.0 * rank, "dropout": 0.0, "targets": "linear"}}
    try:
        layers: LayerPolicy = TypeAdapter[Any](LayerPolicy).validate_python(plain)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise InputError(describe(problem, TunePhase, ""), where=OPTION, fix=EXAMPLE) from error
    return layers


def _number(written: str, value: str) -> int | float:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    raise InputError("needs a number after a colon", where=OPTION, found=written, fix=EXAMPLE)
