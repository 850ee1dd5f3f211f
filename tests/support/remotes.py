"""Promotions in a real DVC project whose stages are nothing but files, and an S3 server on loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from finetide.contracts.ledger import LedgerEntry
from finetide.lifecycle import remote
from finetide.pipeline import dvc
from finetide.registry import history, ledger, service, store, window
from support.registry import MODEL, make_bundle, make_project, verdict

GRAPH = """stages:
  train:
    foreach: ${models}
    do:
      cmd: "true"
      outs: [{"artifacts/${key}/train/model": {"push": true}}]
  export:
    foreach: ${models}
    do:
      cmd: "true"
      deps: ["artifacts/${key}/train/model"]
      outs: [{"artifacts/${key}/export/bundle": {"push": true}}]
"""
KEY, SECRET, BUCKET = "AKIATIDETIDETIDETIDE", "the-secret-of-tests", "tide"


def without_keys(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Nobody's AWS settings count but those that a test makes. Args: folder: where an empty settings file goes."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        patch.delenv(name, raising=False)
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # else it is asked for keys, over the network
    patch.setenv("AWS_CONFIG_FILE", str(folder / "aws-config"))  # DVC wants to read it where it is named
    (folder / "aws-config").touch()
    patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "no-aws-credentials"))


def shipped_project(folder: Path) -> Path:
    root = make_project(folder, commit=False)
    (root / "dvc.yaml").write_text(GRAPH)
    (root / "params.yaml").write_text(f"models:\n  {MODEL}:\n    task: text-classification\n")
    (root / "dvc.lock").unlink()
    dvc.call(root, ["init", "--quiet", "--force"], initialised=False)
    dvc.checked(root, ["add", "--quiet", f"data/{MODEL}/raw/base.csv", f"data/{MODEL}/raw/may.csv"])
    with (root / ".gitignore").open("a") as stream:
        stream.write("/.finetide/\n")
    return root


def commit(root: Path) -> None:
    for words in (["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "state"]):
        subprocess.run(["git", *words], cwd=root, check=True)


def promote(root: Path, content: str) -> LedgerEntry:
    """What `conclude` does with a bundle that won, on outputs that hold ``content``."""
    made = make_bundle(root / ".finetide" / "made", content)
    places = [root / "artifacts" / MODEL / part for part in ("export/bundle", "train/model")]
    for source, target in zip(made, places, strict=True):
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
    dvc.checked(root, ["commit", "--quiet", "--force", f"train@{MODEL}", f"export@{MODEL}"])
    current = history.champion(ledger.read(root, MODEL))
    digest = store.bundle_hash(places[0])
    remote.intend(root, MODEL, digest)
    return service.promote(
        root, MODEL, verdict(digest, current.bundle_hash if current else None), bundle=places[0], weights=places[1],
        window=window.read_window(root, MODEL), reason="better", hashes={},
        before_alias=lambda: remote.push(root, MODEL),
    )  # fmt: skip


def clone(root: Path, target: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(root), str(target)], check=True)
    return target


@dataclass(frozen=True)
class S3:
    """``endpoint``: its address; it takes whatever key comes."""

    endpoint: str

    def client(self, kind: str) -> Any:
        import boto3

        return boto3.client(
            kind, endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )  # fmt: skip

    def use(self, root: Path) -> None:
        """Make it the default remote of a project."""
        dvc.checked(root, ["remote", "add", "--default", "bucket", f"s3://{BUCKET}/dvc"])
        dvc.checked(root, ["remote", "modify", "bucket", "endpointurl", self.endpoint])
        dvc.checked(root, ["remote", "modify", "bucket", "region", "us-east-1"])


@contextmanager
def s3_server(log: Path) -> Iterator[S3]:
    """Moto as a server of its own, with an empty bucket."""
    code = (
        "from moto.server import ThreadedMotoServer as S; import sys, time; "
        "s = S('127.0.0.1', port=0, verbose=False); s.start(); print(s.get_host_and_port()[1], flush=True); "
        "sys.stdin.read()"
    )
    with log.open("wb") as stream, subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream,
        env={**os.environ, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            found = S3(f"http://127.0.0.1:{process.stdout.readline().decode().strip()}")
            found.client("s3").create_bucket(Bucket=BUCKET)
            yield found
        finally:
            process.stdin.close()
            process.terminate()
