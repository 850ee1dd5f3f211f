"""What the machine refuses becomes one error that names the path and what helps; the rest stays a bug."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from finetide.errors import ConfigError, InputError, MachineError, number_in, of_system
from finetide.files import naming


def test_a_setting_that_the_engine_names_gets_its_file_and_its_model() -> None:
    error = ConfigError("is too high", where="train.phases[1].learning_rate", found=9, fix="lower it")
    named = error.of_model("mail")
    assert type(named) is ConfigError
    assert str(named) == (
        "params.yaml: models.mail.train.phases[1].learning_rate: is too high (found 9)\n  fix: lower it"
    )
    assert named.of_model("mail") is named
    for where in (None, "training", "params.yaml: models.mail.train.dropout"):
        other = InputError("is wrong", where=where)
        assert other.of_model("mail") is other


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a.csv"), "a.csv: no space left on device\n  fix: free some"),
        (PermissionError(errno.EACCES, "Permission denied", "a.csv"), "a.csv: permission denied\n  fix: give yourself"),
        (
            OSError(errno.EROFS, "Read-only file system", "a.csv"),
            "a.csv: read-only file system\n  fix: it is read-only",
        ),
        (OSError(errno.EFBIG, "File too large"), "here: file too large\n  fix: raise the limit on file sizes"),
        (shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")]), "b: no space left on device"),
        (
            ValueError("Error while serializing: I/O error: No space left on device (os error 28)"),
            "here: no space left",
        ),
        (OSError("Error writing bytes to file. Detail: [errno 28] No space left on device"), "here: no space left"),
        (MemoryError(), "here: cannot allocate memory\n  fix: close other programs, or lower batch_tokens"),
    ],
)
def test_refusals_are_7(error: Exception, said: str) -> None:
    known = of_system(error, where="here")
    assert isinstance(known, MachineError)
    assert known.exit_code == 7
    assert str(known).startswith(said)


def test_a_folder_for_a_file_is_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as caught:
        tmp_path.read_bytes()
    known = of_system(caught.value)
    assert isinstance(known, InputError)
    assert str(known) == f"{tmp_path}: is a directory\n  fix: this is a folder: name a file"


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "No such file", "x"), ValueError("28"), OSError()])
def test_the_rest_is_a_bug(error: Exception) -> None:
    assert of_system(error) is None


def test_the_number_in_words() -> None:
    assert number_in("ERROR: failed: [Errno 13] Permission denied: '.dvc/cache'") == errno.EACCES
    assert number_in("ERROR: 28 stages failed") is None


def test_a_write_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full") as caught, naming(tmp_path / "rows.csv"):
        raise OSError(errno.ENOSPC, "full")
    assert caught.value.filename == str(tmp_path / "rows.csv")
    with pytest.raises(OSError, match="gone") as caught, naming(tmp_path / "rows.csv"):
        raise OSError(errno.ENOENT, "gone", os.devnull)
    assert caught.value.filename == os.devnull
