"""Tags in the grammar of GTO (Git Tag Ops, the registry of the DVC family), beside the ledger's own.

``tickets@v2.0.0`` registers our version v2, ``tickets#champion#3`` puts a version into service (GTO finds the version
by the commit that the tag points at), ``tickets@v2.0.0!#4`` withdraws one. The last number counts all such tags of an
artifact. Grammar: gto 1.10.1, ``gto/constants.py`` (``tag_re``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from finetide.registry.git import Repository
from finetide.registry.history import version_number
from finetide.registry.names import TAGS

STAGE = "champion"


@dataclass(frozen=True)
class Existing:
    """The GTO tags of an artifact: registered version numbers with their commits, the highest counter, the newest
    tag's time (seconds since 1970)."""

    commits: Mapping[int, str]
    counter: int
    newest: int


def existing(repository: Repository, artifact: str) -> Existing:
    form = "%(refname:strip=2) %(creatordate:unix) %(*objectname)"
    listed = repository.line("for-each-ref", f"--format={form}", f"{TAGS}{artifact}@*", f"{TAGS}{artifact}#*")
    commits: dict[int, str] = {}
    counter = newest = 0
    for line in listed.splitlines():
        name, time, commit = (*line.split(" "), "")[:3]
        newest = max(newest, int(time or 0))
        if counted := re.search(r"#(\d+)$", name):
            counter = max(counter, int(counted[1]))
        if registered := re.fullmatch(r"v(\d+)\.\d+\.\d+", name.removeprefix(f"{artifact}@")):
            commits[int(registered[1])] = commit
    return Existing(commits, counter, newest)


def tags(artifact: str, there: Existing, events: Sequence[tuple[str, str | None]], commit: str) -> dict[str, str]:
    """Tag → commit that it points at, for new ledger entries.

    Args:
        events: event and version of each new entry.
        commit: the run commit of the new entries.
    """
    wanted: dict[str, str] = {}
    counter = there.counter
    for event, version in events:
        number = version_number(version)
        known = there.commits.get(number)
        if event == "promoted" and known is None:
            wanted[f"{artifact}@v{number}.0.0"] = commit
        if event in ("promoted", "rolled-back"):
            counter += 1
            wanted[f"{artifact}#{STAGE}#{counter}"] = known or commit
        if event == "withdrawn":
            counter += 1
            wanted[f"{artifact}@v{number}.0.0!#{counter}"] = known or commit
    return wanted
