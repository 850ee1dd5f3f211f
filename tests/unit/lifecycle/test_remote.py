"""What is promoted gets to the DVC remote before the alias moves, or with a later run, and comes back from there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetide.contracts.judge import JudgeVerdict
from finetide.errors import IntegrityError
from finetide.lifecycle import conclude, outputs, remote
from finetide.lifecycle.restore import restore
from finetide.pipeline import dvc
from finetide.registry import ledger, raw, store
from finetide.registry.alias import read_alias
from support.artifacts import Artifacts
from support.registry import MODEL, make_bundle
from support.remotes import BUCKET, KEY, S3, SECRET, clone, commit, promote, s3_server, shipped_project, without_keys


@pytest.fixture(autouse=True)
def nobody_elses_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    without_keys(tmp_path, monkeypatch)


def test_the_push_stands_between_ledger_and_alias(made: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[str], bool, int]] = []

    def push(root: Path, model: str) -> list[str]:
        events = [entry.event for entry in ledger.read(root, model)]
        pending = remote._read(root, model).pending
        seen.append((events, read_alias(root, model) is not None, len(pending)))
        return []

    bundle, weights = make_bundle(made.root / "artifacts" / "made", "one")
    for place, stage, name in ((bundle, "export", "bundle"), (weights, "train", "model")):
        target = outputs.path_of(made.root, MODEL, stage, name)
        shutil.rmtree(target)
        place.rename(target)
    path = outputs.path_of(made.root, MODEL, "judge", "judge.json")
    digest = store.bundle_hash(outputs.path_of(made.root, MODEL, "export", "bundle"))
    JudgeVerdict.read(path).model_copy(update={"challenger_hash": digest}).write(path)
    monkeypatch.setattr(remote, "push", push)
    monkeypatch.setattr(conclude, "dirty", lambda *_: set())
    monkeypatch.setattr(conclude, "read", lambda _: {})
    conclude.promote_challenger(made.root, MODEL, force=True, why="a test")
    assert seen == [(["promoted"], False, 1)]
    assert read_alias(made.root, MODEL) is not None


@pytest.mark.parametrize(
    ("config", "local", "name"),
    [
        ("", None, None),
        ("[core]\n    analytics = false\n['remote \"store\"']\n    url = ../x\n", None, None),
        ("[core]\n    remote = store\n['remote \"store\"']\n    url = ../x\n", None, "store"),
        ("[core]\n    remote = store\n", "[core]\n    remote = mine\n", "mine"),
        ("what is this", None, None),
    ],
)
def test_the_default_remote_is_read_as_dvc_does(
    config: str, local: str | None, name: str | None, tmp_path: Path
) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(config)
    if local is not None:
        (tmp_path / ".dvc" / "config.local").write_text(local)
    assert remote.default_remote(tmp_path) == name


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("ERROR: s3 is supported, but requires 'dvc-s3' to be installed\nTo install",
         "s3 is supported, but requires 'dvc-s3' to be installed; fix: pip install 'finetide[s3]'"),
        ("ERROR: failed to connect to s3 (b/x) - An error (SignatureDoesNotMatch)\nERROR: failed to push",
         "failed to connect to s3 (b/x) - An error (SignatureDoesNotMatch); fix: correct the secret key "
         "(~/.aws/credentials, or `dvc remote modify --local`)"),
        ("something\nelse", "something else"),
        ("", "DVC said nothing"),
    ],
)  # fmt: skip
def test_dvcs_words_are_one_line_with_what_to_do(output: str, said: str) -> None:
    assert dvc.said(output) == said


@pytest.mark.slow
class TestAFolder:
    def test_a_promotion_is_there_before_anybody_asks(self, tmp_path: Path) -> None:
        root, shelf = shipped_project(tmp_path / "one"), tmp_path / "shelf"
        dvc.checked(root, ["remote", "add", "--default", "shelf", "../shelf"])  # relative, as DVC writes it
        commit(root)
        entry = promote(root, "first")
        assert remote._read(root, MODEL).pending == ()
        assert remote.waiting_line(root, MODEL) == ""
        # All that a second clone needs comes from there alone: the model in service, and the raw files.
        there = clone(root, tmp_path / "two")
        shutil.rmtree(root)
        assert entry.bundle_hash is not None
        assert restore(there, MODEL, entry.bundle_hash) == [f"brought back v1 ({entry.bundle_hash[:12]}) from DVC"]
        store.verify(there, MODEL, entry.bundle_hash)
        dvc.checked(there, ["pull", "--quiet", f"data/{MODEL}/raw/base.csv.dvc"])
        assert (raw.raw_folder(there, MODEL) / "base.csv").exists()
        shutil.rmtree(there / "serving")
        shutil.rmtree(there / ".dvc" / "cache")
        shutil.rmtree(shelf)
        with pytest.raises(IntegrityError, match="v1 is neither in DVC's cache nor in a remote: "):
            restore(there, MODEL, entry.bundle_hash)

    def test_a_remote_that_is_away_holds_nothing_up_and_loses_nothing(self, tmp_path: Path) -> None:
        root, shelf = shipped_project(tmp_path / "one"), tmp_path / "shelf"
        promote(root, "before there was a remote")
        assert len(remote._read(root, MODEL).pending) == 1
        assert remote.push(root, MODEL) == []  # no remote, no word
        dvc.checked(root, ["remote", "add", "--default", "shelf", str(shelf)])
        commit(root)
        shelf.write_text("in the way")  # where its folder should be
        entry = promote(root, "while it was away")
        alias = read_alias(root, MODEL)
        assert alias is not None
        assert alias.version == entry.version == "v2"
        waits = remote.waiting_line(root, MODEL)
        assert waits.startswith("not in the DVC remote yet: v1, v2; the next run tries again (")
        again = remote.push(root, MODEL)  # DVC names the object that it came to first
        assert [line.partition(" (")[0] for line in again] == [waits.partition(" (")[0]]
        shelf.unlink()
        pushed = [f"pushed {version} to the DVC remote shelf" for version in ("v2", "v1")]
        assert remote.push(root, MODEL) == pushed
        assert remote.push(root, MODEL) == []
        assert remote.waiting_line(root, MODEL) == ""
        there = clone(root, tmp_path / "two")
        shutil.rmtree(root)
        for number, one in enumerate(ledger.read(there, MODEL), start=1):
            assert restore(there, MODEL, one.bundle_hash or "")[0].startswith(f"brought back v{number} ")

    def test_what_the_ledger_never_had_is_not_waited_for(self, tmp_path: Path) -> None:
        """A kill between the note and the ledger."""
        root = shipped_project(tmp_path / "one")
        dvc.checked(root, ["remote", "add", "--default", "shelf", str(tmp_path / "shelf")])
        remote.intend(root, MODEL, "ab" * 32)
        assert remote.push(root, MODEL) == []
        assert remote._read(root, MODEL).pending == ()


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    pytest.importorskip("dvc_s3", reason="needs dvc-s3: pip install 'finetide[s3]'")
    pytest.importorskip("moto", reason="needs moto, of the extra dev")
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as found:
        yield found


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
class TestABucket:
    def test_a_promotion_goes_there_and_comes_back_in_a_clone(
        self, bucket: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = shipped_project(tmp_path / "one")
        bucket.use(root)
        commit(root)
        # Nobody said who we are.
        entry = promote(root, "first")
        waits = remote.waiting_line(root, MODEL)
        assert waits.startswith("not in the DVC remote yet: v1; the next run tries again (")
        assert "Unable to locate credentials" in waits
        assert "fix: aws configure, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in waits
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        assert remote.push(root, MODEL) == ["pushed v1 to the DVC remote bucket"]
        assert bucket.client("s3").list_objects_v2(Bucket=BUCKET)["KeyCount"] >= 7
        there = clone(root, tmp_path / "two")
        shutil.rmtree(root)
        assert entry.bundle_hash is not None
        restore(there, MODEL, entry.bundle_hash)
        store.verify(there, MODEL, entry.bundle_hash)

    def test_a_bucket_that_is_not_there_and_a_server_that_is_not(
        self, bucket: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        root = shipped_project(tmp_path / "one")
        bucket.use(root)
        dvc.checked(root, ["remote", "modify", "bucket", "url", "s3://no-such-bucket/dvc"])
        promote(root, "first")
        assert "fix: make the bucket, or correct the remote's url" in remote.waiting_line(root, MODEL)
        dvc.checked(root, ["remote", "modify", "bucket", "endpointurl", "http://127.0.0.1:9"])
        (waits,) = remote.push(root, MODEL)
        assert "127.0.0.1:9" in waits
