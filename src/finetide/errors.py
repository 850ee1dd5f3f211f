"""Every error a person can cause, in one tree.

FinetideError                      exit  meaning
├── InputError                        2  arguments, params, data or files are wrong
│   ├── ConfigError                   2  params.yaml, dvc.yaml, finetide.lock
│   ├── DataError                     2  the rows, or the files they come from
│   ├── ProjectError                  2  not a project, no git, a missing file
│   └── BaseModelError                2  the pre-trained model is missing, altered or unsafe
├── GateError                         3  a gate or the judge said no
├── BusyError                         4  another run holds the workspace
├── ToolError                         5  git, DVC or a database failed
├── IntegrityError                    6  bytes are not what their hash promised (bundle, ledger, store)
└── MachineError                      7  the machine refused: disk full, no permission, no memory

130 is Ctrl-C, 141 a reader of the output that has gone (`finetide check | head -1`); any other exception is a bug of
ours and ends with 1 and a traceback.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Sequence


class FinetideError(Exception):
    """What went wrong, where, what was found, and the next command.

    Args:
        what: the fault in one sentence without a full stop.
        where: file, and row or dotted key, e.g. ``params.yaml: models.tickets.seed``.
        found: the offending value as the person wrote it.
        fix: what to do next, a command where there is one.
    """

    exit_code = 1

    def __init__(
        self, what: str, *, where: str | None = None, found: object | None = None, fix: str | None = None
    ) -> None:
        self.what, self.where, self.found, self.fix = what, where, found, fix
        place = f"{where}: " if where else ""
        seen = f" (found {found!r})" if found is not None else ""
        super().__init__(f"{place}{what}{seen}" + (f"\n  fix: {fix}" if fix else ""))

    def of_model(self, model: str) -> FinetideError:
        """The same, with the file and the model before a setting that stands there without them, ``train.…``."""
        if self.where is None or not self.where.startswith("train."):
            return self
        where = f"params.yaml: models.{model}.{self.where}"
        return type(self)(self.what, where=where, found=self.found, fix=self.fix)


class InputError(FinetideError):
    exit_code = 2


class ConfigError(InputError):
    """One or more problems of a configuration file, all of them reported together."""

    @classmethod
    def many(cls, file: str, problems: Sequence[str], *, fix: str | None = None) -> ConfigError:
        """Args: problems: one line each, already starting with the dotted path."""
        if len(problems) == 1:
            return cls(problems[0], where=file, fix=fix)
        listed = "".join(f"\n  - {problem}" for problem in problems)
        return cls(f"{len(problems)} problems{listed}", where=file, fix=fix)


class DivergedError(ConfigError):
    """A training loss that is no finite number any more."""


class DataError(InputError):
    pass


class ProjectError(InputError):
    pass


class BaseModelError(InputError):
    pass


class GateError(FinetideError):
    exit_code = 3


class BusyError(FinetideError):
    exit_code = 4


class ToolError(FinetideError):
    exit_code = 5


class IntegrityError(FinetideError):
    exit_code = 6


class MachineError(FinetideError):
    exit_code = 7


# What a machine refuses → what helps. Any other OSError is a bug of ours.
_REFUSALS = {
    errno.ENOSPC: "free some space on that disk, then run this again: finished stages are kept",
    errno.EDQUOT: "free some of your quota, then run this again: finished stages are kept",
    errno.EFBIG: "raise the limit on file sizes (`ulimit -f`), then run this again",
    errno.EACCES: "give yourself the right to read and write there (`ls -ld` shows who may), then run this again",
    errno.EPERM: "give yourself the right to read and write there (`ls -ld` shows who may), then run this again",
    errno.EROFS: "it is read-only: remount it, or work in a copy elsewhere",
    errno.EIO: "look at the disk: the system log tells more",
    errno.ENOMEM: "close other programs, or lower batch_tokens and batch_rows in params.yaml",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`), then run this again",
    errno.ENFILE: "close other programs: the machine has too many files open",
    errno.ENAMETOOLONG: "take a shorter name",
    errno.ELOOP: "this link leads to itself: take it out",
}
_MISTAKES = {
    errno.ENOTDIR: "a part of this path is a file: name another",
    errno.EISDIR: "this is a folder: name a file",
    errno.EEXIST: "something else has this name: move it away",
}


# How Python, Arrow, Rust libraries and DVC spell the number that the system gave.
_NUMBER = re.compile(r"(?:\[errno |\(os error )(\d+)", re.IGNORECASE)


def of_system(error: BaseException, *, where: str = "this machine") -> FinetideError | None:
    """The error that a person can act on; None where it is a bug of ours (a file that we should have looked for).

    Args: where: what was at work, for errors that name no file.
    """
    number = error.errno if isinstance(error, OSError) and error.errno else number_in(str(error))
    named = (error.filename2 or error.filename) if isinstance(error, OSError) else None
    if isinstance(error, MemoryError):
        number = errno.ENOMEM
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):
        named = error.args[0][0][1]  # of a copied tree: the first file that could not be written
    return refused(number, str(named) if named else where)


def number_in(text: str) -> int | None:
    """The system's number of an error that only words are left of; None when there is none."""
    found = _NUMBER.search(text)
    return int(found[1]) if found else None


def refused(number: int | None, where: str) -> FinetideError | None:
    """The error of a system's number; None for one that no person can mend."""
    if number in _MISTAKES:
        return InputError(os.strerror(number).lower(), where=where, fix=_MISTAKES[number])
    if number in _REFUSALS:
        return MachineError(os.strerror(number).lower(), where=where, fix=_REFUSALS[number])
    return None
