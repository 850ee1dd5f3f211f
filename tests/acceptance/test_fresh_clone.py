"""A colleague's fresh clone: the ledger comes with git, data and the model in service with DVC, and predict works."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.messages import rows, write_csv
from support.project import MODEL, finetide, micro_project, run

pytestmark = pytest.mark.slow


def dvc(root: Path, *arguments: str) -> str:
    return run(root, sys.executable, "-m", "dvc", *arguments).stdout


def test_what_is_in_service_comes_back_by_hash(tmp_path: Path) -> None:
    shop = write_csv(tmp_path / "shop.csv", rows(150, "shop", 1))
    root = micro_project(tmp_path, [shop])
    dvc(root, "remote", "add", "--default", "store", str(tmp_path / "store"))
    before = datetime.now(UTC) - timedelta(seconds=1)
    assert "not in the DVC remote" not in finetide(root, "run").stdout  # the promotion pushed it
    after = datetime.now(UTC) + timedelta(seconds=1)

    # The ledger answers for a time.
    assert "v1" in finetide(root, "history", MODEL, "--at", after.isoformat()).stdout
    assert "nothing was in service" in finetide(root, "history", MODEL, "--at", before.isoformat()).stdout

    # Predict by the model's name: the text column is the one that params.yaml names.
    asked = write_csv(tmp_path / "asked.csv", rows(20, "shop", 9))
    finetide(root, "predict", MODEL, "--input", str(asked), "--output", str(tmp_path / "out.csv"), "--scores")
    answered = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert len(answered) == 20
    labels = sorted({row["intent"] for row in answered})
    assert len(labels) > 1
    for row in answered:
        assert row["label"] in labels
        assert float(row["score"]) == max(float(row[label]) for label in labels)

    run(root, "git", "add", "-A")
    run(root, "git", "commit", "-qm", "first run")

    clone = tmp_path / "wö änders" / "clone"
    run(tmp_path, "git", "clone", "--quiet", str(root), str(clone))
    assert not (clone / "serving").exists()
    dvc(clone, "pull", "--quiet")
    ran = finetide(clone, "run").stdout
    assert "brought back v1" in ran
    assert "nothing changed" in ran
    here = json.loads(finetide(root, "status", "--json").stdout)["models"][MODEL]
    there = json.loads(finetide(clone, "status", "--json").stdout)["models"][MODEL]
    assert here["champion"]["hash"] == there["champion"]["hash"]
    finetide(clone, "verify", there["champion"]["bundle"])

    # One byte too many in what is in service: noticed and mended.
    damaged = clone / there["champion"]["bundle"] / "tokenizer.json"
    damaged.write_bytes(damaged.read_bytes() + b" ")
    assert finetide(clone, "verify", there["champion"]["bundle"], check=False).returncode == 6
    assert "repaired: brought back v1" in finetide(clone, "run").stdout
    finetide(clone, "verify", there["champion"]["bundle"])

    # Lost store, lost cache, no remote: said in one line, and nothing is made up.
    shutil.rmtree(clone / "serving")
    shutil.rmtree(clone / ".dvc" / "cache")
    shutil.rmtree(tmp_path / "store")
    lost = finetide(clone, "run", check=False)
    assert lost.returncode != 0
    assert "v1 is neither in DVC's cache nor in a remote" in lost.stderr
    assert "Traceback" not in lost.stderr
