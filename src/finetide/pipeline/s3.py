"""The one door to S3: what lies under a prefix, and one object copied to a file. Nothing there is ever changed.

botocore comes with the extra ``s3``, as what DVC's remote needs. It takes endpoint, region and keys from the AWS
variables and profiles, as DVC does; Finetide neither sees nor keeps them.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from finetide.config.schedule import bucket_of
from finetide.errors import InputError, ToolError

EXTRA = "pip install 'finetide[s3]'"
KEYS = "aws configure, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for who runs this"
# A look comes every few minutes: a server that does not answer is given up soon, and asked again by the next.
_SETTINGS = {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 2, "mode": "standard"}}
_GONE = ("404", "NoSuchKey", "412", "PreconditionFailed")
_FIXES = {
    "InvalidAccessKeyId": "correct the access key (~/.aws/credentials)",
    "SignatureDoesNotMatch": "correct the secret key (~/.aws/credentials)",
    "AccessDenied": "let this user list the bucket and read its objects",
    "403": "let this user list the bucket and read its objects",
    "NoSuchBucket": "make the bucket, or correct schedule.drop",
}
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Object:
    """``etag`` names the content, as the server has it; other content under the same key has another one."""

    size: int
    etag: str


def is_installed() -> bool:
    return find_spec("botocore") is not None


class Prefix:
    """``s3://BUCKET/PREFIX``. What lies under it is named by the rest of its key.

    Raises: InputError without the extra; ToolError for what the server or the AWS settings say, from all methods.
    """

    def __init__(self, address: str) -> None:
        found = bucket_of(address)
        assert found is not None
        self.address, (self._bucket, prefix) = address, found
        self._start = f"{prefix}/" if prefix else ""
        if not is_installed():
            raise InputError("S3 needs an extra", where=address, fix=EXTRA)
        from botocore.config import Config
        from botocore.session import get_session

        with self._told():
            self._session: Any = get_session()
            self._client: Any = self._session.create_client("s3", config=Config(**_SETTINGS))

    def has_keys(self) -> bool:
        with self._told():
            return self._session.get_credentials() is not None

    def objects(self) -> dict[str, Object]:
        """All of them, by name."""
        with self._told():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._start)
            listed = [one for page in pages for one in page.get("Contents", ())]
        return {one["Key"].removeprefix(self._start): Object(one["Size"], one["ETag"]) for one in listed}

    def find(self, name: str) -> Object | None:
        """None where it is gone."""
        with self._told(), _unless_gone():
            found = self._client.head_object(Bucket=self._bucket, Key=self._start + name)
            return Object(found["ContentLength"], found["ETag"])
        return None

    def copy(self, name: str, wanted: Object, target: Path) -> bool:
        """Write exactly this content to a file; False where it is gone or other content is there by now.

        Raises: InputError for a name that no file can have.
        """
        with self._told(), _unless_gone():
            answer = self._client.get_object(Bucket=self._bucket, Key=self._start + name, IfMatch=wanted.etag)
            with _new(target, name) as stream:
                for chunk in answer["Body"].iter_chunks(_CHUNK):
                    stream.write(chunk)
            return target.stat().st_size == wanted.size and answer["ETag"] == wanted.etag
        return False

    @contextmanager
    def _told(self) -> Iterator[None]:
        """botocore's errors in our words."""
        from botocore import exceptions as they

        try:
            yield
        except (they.NoCredentialsError, they.PartialCredentialsError) as error:
            raise ToolError("no AWS keys were found", where=self.address, fix=KEYS) from error
        except (they.ConnectionError, they.HTTPClientError, they.IncompleteReadError) as error:
            what = f"S3 does not answer, or not to the end ({type(error).__name__})"
            fix = "look at AWS_ENDPOINT_URL and the network; the next look tries again, and nothing is lost"
            raise ToolError(what, where=self.address, fix=fix) from error
        except they.ClientError as error:
            code, said = (str(error.response.get("Error", {}).get(key, "")) for key in ("Code", "Message"))
            raise ToolError(f"S3 says {code}: {said}", where=self.address, fix=_FIXES.get(code)) from error
        except (they.BotoCoreError, ValueError) as error:  # ValueError: an endpoint that is no address
            fix = "look at the AWS variables and ~/.aws/config"
            raise ToolError(f"the AWS settings do not work: {error}", where=self.address, fix=fix) from error


@contextmanager
def _unless_gone() -> Iterator[None]:
    """Lets an answer pass that says that the object is not there, or not the same."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") not in _GONE:
            raise


@contextmanager
def _new(target: Path, name: str) -> Iterator[Any]:
    try:
        stream = target.open("wb")
    except (OSError, ValueError) as error:  # ValueError: a NUL in it
        if isinstance(error, OSError) and error.errno != errno.ENAMETOOLONG:
            raise
        raise InputError("has a name that no file can have", where=name, fix="rename it") from error
    with stream:
        yield stream
