"""The ledger: append-only, hash-chained, in annotated git tags ``finetide/MODEL/000001``, …

A tag's message is the canonical JSON of its entry, and the entry names the hash of the tag object before it, so that
no entry can be taken out, inserted or altered unseen (the newest alone is covered only by copies: the alias, a remote).
A tag points at a run commit (see `snapshot`). Tags are shared by worktrees and travel with ``git push --tags``.
"""

from __future__ import annotations

import re
import time as timer
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from finetide.contracts.ledger import Event, LedgerEntry
from finetide.contracts.window import Window
from finetide.errors import InputError, IntegrityError
from finetide.files import canonical_json
from finetide.registry import gto, names, snapshot
from finetide.registry.clock import Clock, not_before, parse, utc_now
from finetide.registry.git import Repository, call, failure, open_repository
from finetide.registry.history import promotion, version_number, versions

PATIENCE_SECONDS = 60.0
_TAKEN = re.compile(r"already exists|File exists")


@dataclass(frozen=True)
class Draft:
    """What is to be recorded. A promotion without version gets the bundle's own, or the next free one."""

    event: Event
    reason: str
    version: str | None = None
    bundle_hash: str | None = None
    window: Window | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """An entry with the hash of its tag object and of its run commit."""

    entry: LedgerEntry
    tag: str
    commit: str


Build = Callable[[list[LedgerEntry]], Sequence[Draft]]


def read(root: Path, model: str) -> list[LedgerEntry]:
    """All entries, oldest first.

    Raises: IntegrityError naming the tag at which the chain breaks.
    """
    repository = open_repository(root)
    return [record.entry for record in _records(repository, names.artifact(repository.prefix, model), model)]


def run_commit(root: Path, model: str, sequence: int) -> str:
    """Hash of the run commit of one entry: its tree holds the ``dvc.lock`` of that run."""
    repository = open_repository(root)
    for record in _records(repository, names.artifact(repository.prefix, model), model):
        if record.entry.sequence == sequence:
            return record.commit
    raise InputError(f"the ledger of {model} has no entry {sequence}", fix=f"list them: finetide history {model}")


def append(root: Path, model: str, build: Build, *, who: str | None = None, now: Clock = utc_now) -> list[LedgerEntry]:
    """Add entries, all of them or none.

    ``build`` gets the entries so far and returns drafts, maybe none; it raises to refuse. When another writer is
    quicker it is asked again with that writer's entries, so what it decides always holds for the entry before its own.
    """
    repository = open_repository(root)
    artifact = names.artifact(repository.prefix, model)
    head = repository.head()
    tree = snapshot.write_tree(repository, head)
    run = _Run(artifact, model, who or repository.who(), repository.identity(), tree, head)
    deadline = timer.monotonic() + PATIENCE_SECONDS
    while True:
        records = _records(repository, artifact, model)
        drafts = build([record.entry for record in records])
        if not drafts:
            return []
        entries, refs = _write(repository, run, records, drafts, now())
        if _publish(repository, refs, last_try=timer.monotonic() > deadline):
            return entries
        timer.sleep(0.01)


@dataclass(frozen=True)
class _Run:
    """What stays the same over the tries of one `append`.

    ``identity``: environment that names the author of objects; ``tree`` and ``head``: of the run commit.
    """

    artifact: str
    model: str
    who: str
    identity: Mapping[str, str]
    tree: str
    head: str | None


def _write(
    repository: Repository, run: _Run, records: Sequence[Record], drafts: Sequence[Draft], now: str
) -> tuple[list[LedgerEntry], dict[str, str]]:
    """Write commit and tag objects; nothing refers to them yet. Returns the entries, and tag name → object."""
    before = [record.entry for record in records]
    moment = not_before(now, before[-1].time if before else None)
    there = gto.existing(repository, run.artifact)
    drafts = [_with_version(draft, before, there) for draft in drafts]
    seconds = int(parse(moment).timestamp())
    commit = _run_commit(repository, run, len(before) + 1, drafts, seconds)
    entries: list[LedgerEntry] = []
    refs: dict[str, str] = {}
    previous = records[-1].tag if records else None
    tagger = _tagger(repository, run, seconds)
    for sequence, draft in enumerate(drafts, start=len(before) + 1):
        entry = LedgerEntry(
            sequence=sequence,
            model=run.model,
            event=draft.event,
            time=moment,
            who=_plain(run.who),
            reason=_plain(draft.reason),
            version=draft.version,
            bundle_hash=draft.bundle_hash,
            window=draft.window,
            hashes=dict(draft.hashes),
            previous=previous,
        )
        name = names.ledger_tag(run.artifact, sequence)
        previous = refs[name] = _write_tag(repository, name, commit, _message(entry), tagger)
        entries.append(entry)
    note = f"{next(iter(refs))}\n\n{entries[0].reason}\n".replace("\0", "").encode()
    # GTO orders its tags by their time alone, so two of them never share a second.
    tagger = _tagger(repository, run, max(seconds, there.newest + 1))
    events = [(draft.event, draft.version) for draft in drafts]
    for name, target in gto.tags(run.artifact, there, events, commit).items():
        refs[name] = _write_tag(repository, name, target, note, tagger)
    return entries, refs


def _with_version(draft: Draft, before: Sequence[LedgerEntry], there: gto.Existing) -> Draft:
    if draft.event != "promoted" or draft.version:
        return draft
    earlier = promotion(before, draft.bundle_hash)
    if earlier:
        return replace(draft, version=earlier.version)
    taken = [*map(version_number, versions(before)), *there.commits]
    return replace(draft, version=f"v{max(taken, default=0) + 1}")


def _run_commit(repository: Repository, run: _Run, sequence: int, drafts: Sequence[Draft], seconds: int) -> str:
    parent = ["-p", run.head] if run.head else []
    said = ", ".join(f"{draft.event} {draft.version or ''}".strip() for draft in drafts)
    # The bundle's hash makes it a commit of its own: GTO tells versions apart by their commits.
    message = f"finetide {run.artifact} {sequence:06d}: {said}\n\nbundle {drafts[0].bundle_hash or 'none'}\n"
    env = _dated(run.identity, seconds)
    return repository.line("commit-tree", run.tree, *parent, stdin=message.encode(), env=env)


def _write_tag(repository: Repository, name: str, target: str, message: bytes, tagger: str) -> str:
    head = f"object {target}\ntype commit\ntag {name}\ntagger {tagger}\n\n"
    return repository.line("mktag", stdin=head.encode() + message)


def _tagger(repository: Repository, run: _Run, seconds: int) -> str:
    """``NAME <ADDRESS> SECONDS ZONE``; git itself takes out what a name may not hold."""
    return repository.line("var", "GIT_COMMITTER_IDENT", env=_dated(run.identity, seconds))


def _dated(identity: Mapping[str, str], seconds: int) -> dict[str, str]:
    stamp = f"{seconds} +0000"
    return {**identity, "GIT_AUTHOR_DATE": stamp, "GIT_COMMITTER_DATE": stamp}


def _publish(repository: Repository, refs: Mapping[str, str], *, last_try: bool) -> bool:
    """Create all tags in one transaction that fails if one of them exists. False: another writer was quicker.

    Git moves the refs of a transaction one by one, and a killed git leaves ``.lock`` files that make every later one
    fail. Nobody else writes these names, so that what lies there while we hold the lock is of a dead writer.

    Raises: ToolError with git's words for any other reason, and at the ``last_try``.
    """
    creates = "".join(f"create {names.TAGS}{name} {target}\n" for name, target in refs.items())
    arguments = ["update-ref", "--stdin"]
    with repository.lock("finetide.flock") as common:
        for name in refs:
            left = common / f"{names.TAGS}{name}.lock"
            if left.is_file():
                left.unlink()
        outcome = call(repository.folder, arguments, stdin=f"start\n{creates}prepare\ncommit\n".encode())
    if outcome.code == 0:
        return True
    if last_try or not _TAKEN.search(outcome.err):
        raise failure(repository.folder, arguments, outcome)
    return False


def _records(repository: Repository, artifact: str, model: str) -> list[Record]:
    try:
        return _verified(repository, artifact, model)
    except IntegrityError:
        # A listing made while a writer moves two refs into place may show the second alone; a second look settles it.
        return _verified(repository, artifact, model)


def _verified(repository: Repository, artifact: str, model: str) -> list[Record]:
    folder = names.ledger_folder(artifact)
    listed = repository.line("for-each-ref", "--format=%(refname) %(objectname)", folder).splitlines()
    pairs = [line.removeprefix(folder).split(" ") for line in listed]
    tags = {int(number): hash_ for number, hash_ in pairs if re.fullmatch(r"\d{6,}", number)}
    objects = repository.objects(list(tags.values()))
    records: list[Record] = []
    for sequence in range(1, max(tags, default=0) + 1):
        name = names.ledger_tag(artifact, sequence)
        if sequence not in tags:
            raise _broken("is missing from the ledger", name)
        record = _record(name, model, sequence, tags[sequence], objects.get(tags[sequence]))
        expected = records[-1].tag if records else None
        if record.entry.previous != expected:
            raise _broken(f"does not follow the entry before it, whose hash is {expected}", name, record.entry.previous)
        records.append(record)
    return records


def _record(name: str, model: str, sequence: int, tag: str, found: tuple[str, bytes] | None) -> Record:
    if found is None:
        raise _broken("cannot be read: its object is missing or damaged", name)
    kind, content = found
    if kind != "tag":
        raise _broken("is not an annotated tag", name, kind)
    head, _, message = content.partition(b"\n\n")
    headers = dict(line.split(" ", 1) for line in head.decode(errors="replace").splitlines() if " " in line)
    try:
        entry = LedgerEntry.model_validate_json(message)
    except ValidationError as error:
        raise _broken("holds no ledger entry", name) from error
    if _message(entry) != message:
        raise _broken("was not written by finetide: its JSON is not canonical", name)
    if (entry.sequence, entry.model, headers.get("tag")) != (sequence, model, name):
        raise _broken("holds the entry of another tag", name, f"{headers.get('tag')}, {entry.model} {entry.sequence}")
    return Record(entry, tag, headers["object"])


def _broken(what: str, name: str, found: object | None = None) -> IntegrityError:
    return IntegrityError(
        what, where=f"tag {name}", found=found, fix="fetch the ledger from a good clone: git fetch --tags --force"
    )


def _message(entry: LedgerEntry) -> bytes:
    return canonical_json(entry.model_dump(mode="json"))


def _plain(text: str) -> str:
    """One line of text that UTF-8 can hold and a terminal can show: arguments of a command line may carry undecodable
    bytes as lone surrogates, line breaks and escape codes."""
    sane = text.encode("utf-8", errors="replace").decode()
    return " ".join("".join(sign if sign.isprintable() else " " for sign in sane).split())
