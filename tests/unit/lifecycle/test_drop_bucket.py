"""A prefix on S3 as the drop folder: what lies there comes in once, and nothing there is changed.

With a client in place of botocore's that has a few objects; at the end with botocore's own and a server on loopback.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from finetide.config.params import model_params
from finetide.contracts.operate import Seen
from finetide.errors import ConfigError, DataError, InputError, ToolError
from finetide.lifecycle import drop
from finetide.pipeline import s3
from finetide.preflight import Mark, examine
from finetide.registry import raw
from finetide.registry.window import advance, read_window
from support.project import edit_params
from support.registry import MODEL
from support.remotes import BUCKET, KEY, S3, SECRET, s3_server, without_keys

TABLE = "text,label\nwhere is it,delivery\n"
WHERE = f"s3://{BUCKET}/new"
botocore = pytest.importorskip("botocore.exceptions", reason="needs botocore: pip install 'finetide[s3]'")


def tag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


class Client:
    """``objects``: key to bytes. ``reads``: called before each object's bytes are handed out, with the key."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.reads: Callable[[str], None] = lambda _: None
        self.asked: list[str] = []

    def get_paginator(self, _: str) -> Any:
        return SimpleNamespace(paginate=self._pages)

    def _pages(self, **asked: str) -> Iterator[dict[str, Any]]:
        self.asked.append("list")
        found = [key for key in self.objects if key.startswith(asked["Prefix"])]
        yield {"KeyCount": 0}
        for key in found:
            yield {"Contents": [{"Key": key, "Size": len(self.objects[key]), "ETag": tag(self.objects[key])}]}

    def head_object(self, **asked: str) -> dict[str, Any]:
        data = self._data("HeadObject", asked["Key"], "404")
        return {"ContentLength": len(data), "ETag": tag(data)}

    def get_object(self, **asked: str) -> dict[str, Any]:
        data = self._data("GetObject", asked["Key"], "NoSuchKey")
        if tag(data) != asked["IfMatch"]:
            raise botocore.ClientError({"Error": {"Code": "PreconditionFailed"}}, "GetObject")
        self.reads(asked["Key"])
        return {"Body": SimpleNamespace(iter_chunks=lambda _: iter([data[:5], data[5:]])), "ETag": tag(data)}

    def _data(self, what: str, key: str, gone: str) -> bytes:
        self.asked.append(f"{what} {key}")
        if key not in self.objects:
            raise botocore.ClientError({"Error": {"Code": gone}}, what)
        return self.objects[key]


@pytest.fixture
def there(root: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A project that looks under a prefix; its advance works without DVC, and a file that says `bad` is refused."""

    def take(project: Path, model: str, files: list[Path]) -> list[str]:
        if "bad" in files[0].read_text():
            raise DataError("has no column 'text'", where=str(files[0]))
        return advance(project, model, files, "base")[1]

    client = Client()
    session = SimpleNamespace(create_client=lambda *_, **__: client, get_credentials=object)
    monkeypatch.setattr("botocore.session.get_session", lambda: session)
    monkeypatch.setattr(drop, "advance_window", take)
    put_in_params(root, WHERE)
    return client


def put_in_params(root: Path, where: str) -> None:
    edit_params(root, lambda params: params["schedule"].update(drop=where), MODEL)


def never(_: float) -> None:
    raise AssertionError("an object appears whole: nobody waits")


def look(root: Path) -> list[tuple[str, str, str]]:
    def show(one: Seen) -> tuple[str, str, str]:
        return one.name, one.outcome, one.why

    return [show(one) for one in drop.pick_up(root, root, MODEL, wait=never)]


def in_window(root: Path) -> list[str]:
    return [file.path for file in read_window(root, MODEL).files]


def test_an_object_comes_in_once(root: Path, there: Client) -> None:
    there.objects["new/june.csv"] = TABLE.encode()
    before = dict(there.objects)
    assert look(root) == [("june.csv", "taken", "june.csv: new, incoming")]
    assert (raw.raw_folder(root, MODEL) / "june.csv").read_text() == TABLE
    there.asked.clear()
    assert look(root) == []
    assert there.asked == ["list"]  # nothing is read again
    (seen,) = drop._read(root, MODEL).files
    assert (seen.size, seen.modified, seen.etag) == (len(TABLE), 0, tag(TABLE.encode()))
    assert there.objects == before


def test_what_is_no_data_by_its_name_is_not_looked_at(root: Path, there: Client) -> None:
    names = ("new/", "new/sub/", "new/june.csv.part", "new/.june.csv", "new/../june.csv", "newer/june.csv", "june.csv")
    there.objects.update(dict.fromkeys(names, b"x"))
    assert look(root) == []
    there.objects["new/sub/june.csv"] = TABLE.encode()
    assert look(root)[0][:2] == ("sub/june.csv", "taken")


def test_the_whole_bucket_may_be_the_drop_folder(root: Path, there: Client) -> None:
    put_in_params(root, f"s3://{BUCKET}")
    there.objects["june.csv"] = TABLE.encode()
    assert look(root)[0][:2] == ("june.csv", "taken")


def test_a_duplicate_and_a_bad_one_keep_no_good_one_out(root: Path, there: Client) -> None:
    there.objects.update({"new/a-bad.csv": b"bad\n", "new/june.csv": TABLE.encode(), "new/again.csv": TABLE.encode()})
    assert look(root) == [
        ("a-bad.csv", "refused", "a-bad.csv: has no column 'text'"),
        ("again.csv", "taken", "again.csv: new, incoming"),
        ("june.csv", "duplicate", "has the bytes of again.csv"),
    ]
    assert look(root) == []
    there.objects["new/a-bad.csv"] = b"text,label\nmended,delivery\n"
    assert look(root)[0][:2] == ("a-bad.csv", "taken")


@pytest.mark.parametrize("name", ["n" * 300 + ".csv", "a\0.csv"])
def test_a_key_that_is_no_name_of_a_file_is_refused(name: str, root: Path, there: Client) -> None:
    there.objects[f"new/{name}"] = TABLE.encode()
    ((_, outcome, why),) = look(root)
    assert (outcome, why.partition(": ")[2]) == ("refused", "has a name that no file can have\n  fix: rename it")
    assert look(root) == []


def test_one_that_changes_or_goes_while_it_is_copied_waits_for_the_next_look(root: Path, there: Client) -> None:
    there.objects.update({"new/june.csv": TABLE.encode(), "new/may-2.csv": b"text,label\nbye,x\n"})

    def meanwhile(key: str) -> None:
        there.reads = lambda _: None
        there.objects[key] += b"more,delivery\n"
        del there.objects["new/may-2.csv"]

    there.reads = meanwhile
    assert look(root) == []
    assert in_window(root) == ["base.csv", "may.csv"]
    assert look(root) == [("june.csv", "taken", "june.csv: new, incoming")]


def test_other_content_between_look_and_copy_is_not_taken(root: Path, there: Client, tmp_path: Path) -> None:
    there.objects["new/june.csv"] = TABLE.encode()
    prefix = s3.Prefix(WHERE)
    found = prefix.objects()["june.csv"]
    there.objects["new/june.csv"] = TABLE.upper().encode()
    assert not prefix.copy("june.csv", found, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_server_that_goes_away_loses_nothing(root: Path, there: Client) -> None:
    there.objects.update({"new/a.csv": TABLE.encode(), "new/b.csv": b"text,label\nbye,x\n"})

    def away(key: str) -> None:
        if key == "new/b.csv":
            raise botocore.EndpointConnectionError(endpoint_url="http://user:secret@127.0.0.1:9")

    there.reads = away
    with pytest.raises(ToolError) as caught:
        look(root)
    assert str(caught.value) == (
        f"{WHERE}: S3 does not answer, or not to the end (EndpointConnectionError)\n"
        "  fix: look at AWS_ENDPOINT_URL and the network; the next look tries again, and nothing is lost"
    )
    assert in_window(root) == ["base.csv", "may.csv", "a.csv"]
    there.reads = lambda _: None
    assert look(root) == [("b.csv", "taken", "b.csv: new, incoming")]


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (botocore.NoCredentialsError(), f"no AWS keys were found\n  fix: {s3.KEYS}"),
        (botocore.ClientError({"Error": {"Code": "NoSuchBucket", "Message": "gone"}}, "ListObjectsV2"),
         "S3 says NoSuchBucket: gone\n  fix: make the bucket, or correct schedule.drop"),
        (botocore.ClientError({"Error": {"Code": "SlowDown", "Message": "later"}}, "ListObjectsV2"),
         "S3 says SlowDown: later"),
        (botocore.ProfileNotFound(profile="mine"), "the AWS settings do not work: The config profile (mine) could not "
         "be found\n  fix: look at the AWS variables and ~/.aws/config"),
    ],
)  # fmt: skip
def test_what_the_server_or_the_settings_say_is_one_error(
    raised: Exception, said: str, root: Path, there: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> None:
        raise raised

    monkeypatch.setattr(there, "get_paginator", fail)
    with pytest.raises(ToolError) as caught:
        look(root)
    assert str(caught.value) == f"{WHERE}: {said}"


def drop_check(root: Path) -> list[tuple[Mark, str]]:
    return [(one.mark, one.detail) for one in examine(root, MODEL) if one.what == f"{MODEL}: drop folder"]


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """None but the one that these tests are about."""
    from finetide import preflight

    for name in ("_base", "_layers", "_window", "_approvals", "_ledger", "_in_service", "check_suite", "_dvc", "_git"):
        monkeypatch.setattr(preflight, name, lambda *_: "")
    monkeypatch.setattr(preflight.codelock, "refresh", lambda _: [])


def test_check_says_whether_the_prefix_can_be_listed(
    root: Path, there: Client, checks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.objects["new/june.csv"] = TABLE.encode()
    assert drop_check(root) == [(Mark.PASSED, f"{WHERE}: 1 object(s)")]
    monkeypatch.setattr(s3.Prefix, "has_keys", lambda _: False)
    assert drop_check(root) == [(Mark.SKIPPED, f"{WHERE}: no AWS keys here: {s3.KEYS}")]
    monkeypatch.setattr(s3, "is_installed", lambda: False)
    assert drop_check(root) == [(Mark.SKIPPED, f"{WHERE}: S3 needs an extra: pip install 'finetide[s3]'")]
    put_in_params(root, "drop/tickets")
    assert drop_check(root) == []


def test_check_tells_of_a_server_that_refuses(
    root: Path, there: Client, checks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(_: str) -> None:
        raise botocore.ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListObjectsV2")

    monkeypatch.setattr(there, "get_paginator", deny)
    ((mark, said),) = drop_check(root)
    assert mark is Mark.FAILED
    assert said.endswith("S3 says AccessDenied: no\n  fix: let this user list the bucket and read its objects")


def test_without_the_extra_it_is_named(root: Path, there: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "is_installed", lambda: False)
    with pytest.raises(InputError, match=r"new: S3 needs an extra\n  fix: pip install 'finetide\[s3\]'"):
        look(root)


@pytest.mark.parametrize("where", ["s3://", "s3://Bucket/x", "s3:///x", "gs://tide/new", "https://tide.example/new"])
def test_another_address_is_refused(where: str, root: Path) -> None:
    put_in_params(root, where)
    with pytest.raises(ConfigError, match=rf"schedule\.drop: must be a folder, or s3://BUCKET/PREFIX \(found '{where}"):
        model_params(root, MODEL)


def test_keys_in_the_address_are_refused_and_not_shown(root: Path) -> None:
    put_in_params(root, f"s3://{KEY}:{SECRET}@tide/new")
    with pytest.raises(ConfigError, match=r"schedule\.drop: must hold no keys: the AWS variables or ") as caught:
        model_params(root, MODEL)
    assert SECRET not in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    pytest.importorskip("moto", reason="needs moto, of the extra dev")
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as found:
        yield found


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
class TestAServer:
    @pytest.fixture(autouse=True)
    def _ours(self, server: S3, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        without_keys(tmp_path, monkeypatch)
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        monkeypatch.setattr(drop, "advance_window", lambda root, model, files: advance(root, model, files, "base")[1])
        put_in_params(root, WHERE)

    def test_it_is_asked_with_the_usual_variables(
        self, server: S3, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.client("s3").put_object(Bucket=BUCKET, Key="new/june.csv", Body=TABLE.encode())
        with pytest.raises(ToolError, match="no AWS keys were found"):
            look(root)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        assert look(root) == [("june.csv", "taken", "june.csv: new, incoming")]
        assert (raw.raw_folder(root, MODEL) / "june.csv").read_text() == TABLE
        assert look(root) == []
        body = b"text,label\nanother,delivery\n"
        server.client("s3").put_object(Bucket=BUCKET, Key="new/sub/july.csv", Body=body)
        server.client("s3").put_object(Bucket=BUCKET, Key="new/june-again.csv", Body=TABLE.encode())
        assert [one[:2] for one in look(root)] == [("june-again.csv", "duplicate"), ("sub/july.csv", "taken")]
        for path in (root / "params.yaml", root / ".finetide" / "drop" / f"{MODEL}.json"):
            assert SECRET not in path.read_text()

    def test_other_content_no_bucket_and_a_server_that_is_away(
        self, server: S3, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        store = server.client("s3")
        store.put_object(Bucket=BUCKET, Key="other/a.csv", Body=b"one")
        prefix = s3.Prefix(f"s3://{BUCKET}/other/")
        found = prefix.objects()["a.csv"]
        assert prefix.find("a.csv") == found
        store.put_object(Bucket=BUCKET, Key="other/a.csv", Body=b"two")
        assert not prefix.copy("a.csv", found, tmp_path / "copy")
        store.delete_object(Bucket=BUCKET, Key="other/a.csv")
        assert not prefix.copy("a.csv", found, tmp_path / "copy")
        assert prefix.find("a.csv") is None
        put_in_params(root, "s3://no-such-bucket/new")
        with pytest.raises(ToolError, match=r"S3 says NoSuchBucket: .*\n  fix: make the bucket"):
            look(root)
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        with pytest.raises(ToolError, match="S3 does not answer, or not to the end"):
            look(root)
        assert in_window(root) == ["base.csv", "may.csv"]
