"""examples/digits is what `finetide init` writes on what examples/make_digits.py draws."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetide.config.images import ImageColumnParams
from finetide.init.project import Wanted, create
from unit.init.test_manuals import files

EXAMPLES = Path(__file__).parents[3] / "examples"
RAW = EXAMPLES / "digits" / "data" / "digits" / "raw"
COLUMNS = ImageColumnParams(image="image", label="label", split=None, group=None)


@pytest.fixture(scope="module")
def script() -> Any:
    spec = spec_from_file_location("make_digits", EXAMPLES / "make_digits.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["make_digits"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["written", "printed"])
def test_the_images_are_those_that_the_script_draws(script: Any, name: str) -> None:
    images, labels = getattr(script, name)()
    with np.load(RAW / f"{name}.npz", allow_pickle=False) as kept:
        np.testing.assert_array_equal(kept["labels"], labels)
        # Fonts are drawn by a library of the system's: an edge may differ by a shade.
        assert np.abs(kept["images"].astype(int) - images.astype(int)).mean() < 1


def test_the_example_is_what_init_writes(tmp_path: Path) -> None:
    raw, base = [RAW / f"{name}.npz" for name in ("written", "printed")], EXAMPLES / "digits" / "base"
    wanted = Wanted(
        "image-classification", "digits", (raw[0],), (raw[1],), COLUMNS, str(base), None, from_scratch=True
    )  # fmt: skip
    list(create(tmp_path / "digits", wanted))
    made, kept = files(tmp_path / "digits"), files(EXAMPLES / "digits")
    assert {name for name in kept if name not in made} == {f"base/{path.name}" for path in base.iterdir()}
    assert set(made) <= set(kept)
    line = f"source: path:{base}"
    made["params.yaml"] = made["params.yaml"].replace(line.encode(), b"source: path:base")
    assert [name for name in made if made[name] != kept[name]] == ["README.md"]


def test_a_split_that_the_files_bring_is_said(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    arrays = {}
    for side, count in (("train", 20), ("val", 6), ("test", 8)):
        arrays[f"{side}_images"] = chance.integers(0, 256, (count, 8, 8), dtype=np.uint8)
        arrays[f"{side}_labels"] = np.arange(count) % 2
    np.savez(tmp_path / "own.npz", **arrays)
    base = str(EXAMPLES / "digits" / "base")
    wanted = Wanted("image-classification", "own", (tmp_path / "own.npz",), (), COLUMNS, base, None, from_scratch=True)
    said = list(create(tmp_path / "own", wanted))
    assert said[1] == "split as the files say: test (8 rows); train (20 rows); validation (6 rows)"
