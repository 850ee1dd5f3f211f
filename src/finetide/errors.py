"""Every error a person can cause, in one tree.

FinetideError                      exit  meaning
├── InputError                        2  arguments, params, data or files are wrong
│   ├── ConfigError                   2  params.yaml, dvc.yaml, finetide.lock
│   ├── DataError                     2  the rows, or the files they come from
│   ├── ProjectError                  2  not a project, no git, a missing file
│   └── BaseModelError                2  the pre-trained model is missing, altered or unsafe
├── GateError                         3  a gate or the judge said no
├── BusyError                         4  another run holds the workspace
├── ToolError                         5  git or DVC failed
└── IntegrityError                    6  bytes are not what their hash promised (bundle, ledger, store)

130 is Ctrl-C; any other exception is a bug of ours and ends with 1 and a traceback.
"""

from __future__ import annotations

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
