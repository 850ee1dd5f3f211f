"""Small projects in real git repositories, with bundles that are nothing but files and a manifest."""

from __future__ import annotations

import subprocess
from pathlib import Path

from finetide.contracts.bundle import Manifest
from finetide.contracts.judge import JudgeVerdict
from finetide.contracts.ledger import LedgerEntry
from finetide.contracts.window import Window
from finetide.files import tree_hashes
from finetide.registry import history, ledger, service, window

MODEL = "tickets"


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def forge(root: Path, sequence: int, old: str, new: str) -> None:
    """Replace a tag by one with another message, as `git tag -f` would."""
    name = f"refs/tags/finetide/{MODEL}/{sequence:06d}"
    content = git(root, "cat-file", "tag", name) + "\n"
    assert old in content
    made = subprocess.run(
        ["git", "mktag"], cwd=root, input=content.replace(old, new), check=True, capture_output=True, text=True
    )
    git(root, "update-ref", name, made.stdout.strip())


def make_project(folder: Path, *, repository: Path | None = None, commit: bool = True) -> Path:
    """A project with one reference and one incoming file in a new git repository, maybe as a subfolder of it."""
    top = repository or folder
    folder.mkdir(parents=True, exist_ok=True)
    git(top, "init", "-q", "-b", "main")
    for name in ("dvc.yaml", "params.yaml", "finetide.lock", "dvc.lock"):
        (folder / name).write_text(f"{name}: 1\n")
    (folder / ".gitignore").write_text("/serving/\n/artifacts/\n")
    (folder / "approvals" / MODEL).mkdir(parents=True)
    (folder / "approvals" / MODEL / ".gitkeep").touch()
    drop(folder, "base.csv", "text,label\nhello,greeting\n")
    drop(folder, "may.csv", "text,label\nbye,parting\n")
    raw = folder / "data" / MODEL / "raw"
    window.first_window(folder, MODEL, reference=[raw / "base.csv"], incoming=[raw / "may.csv"])
    if commit:
        git(folder, "add", ".")
        git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "first")
    return folder


def drop(root: Path, name: str, text: str) -> Path:
    path = root / "data" / MODEL / "raw" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def make_bundle(folder: Path, content: str, *, trained: str | None = None) -> tuple[Path, Path]:
    """Bundle and weights, told apart by ``content``; the weights by ``trained`` instead where that is given."""
    bundle, weights = folder / "bundle", folder / "weights"
    for path in (bundle / "model.onnx", bundle / "nested" / "card.md", weights / "model.safetensors"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{path.name} of {content}")
    if trained is not None:
        (weights / "model.safetensors").write_text(f"model.safetensors of {trained}")
    (bundle / "manifest.json").unlink(missing_ok=True)
    Manifest(files=tree_hashes(bundle), lineage={"window": content}).write(bundle / "manifest.json")
    return bundle, weights


def verdict(challenger: str, champion: str | None, *, promote: bool = True) -> JudgeVerdict:
    return JudgeVerdict(
        verdict="promote" if promote else "reject",
        reason="better" if promote else "worse on refunds",
        metric="accuracy",
        rows=10,
        challenger_hash=challenger,
        champion_hash=champion,
        challenger=0.9,
        champion=None,
        difference=None,
        low=None,
        high=None,
        p=None,
        slices=(),
    )


def promote(
    root: Path, content: str, *, trained: str | None = None, at: str = "2026-01-01T00:00:00+00:00"
) -> LedgerEntry:
    """Promote a bundle of this content, judged against today's champion, for the window as it is."""
    return promote_made(root, *make_bundle(root / "artifacts" / content, content, trained=trained), content, at=at)


def promote_made(
    root: Path, bundle: Path, weights: Path, content: str = "this one", *, at: str = "2026-01-01T00:00:00+00:00"
) -> LedgerEntry:
    """`promote` for a bundle and weights that are there."""
    from finetide.registry import store

    current = history.champion(ledger.read(root, MODEL))
    return service.promote(
        root,
        MODEL,
        verdict(store.bundle_hash(bundle), current.bundle_hash if current else None),
        bundle=bundle,
        weights=weights,
        window=window.read_window(root, MODEL),
        reason=f"{content} is better",
        hashes={"dvc.lock": "ab" * 32},
        now=lambda: at,
    )


def append_many(root: Path, name: str, count: int) -> None:
    """What a writer in another process does; here, because a spawned process must be able to import it."""
    for number in range(count):
        ledger.append(root, MODEL, lambda _, number=number: [ledger.Draft("rejected", f"{name} {number}")])


def roles(of: Window) -> dict[str, str]:
    return {file.path: file.role for file in of.files}


def state(root: Path) -> tuple[str, str, str, bytes]:
    """What must not move: status, HEAD, branches, the bytes of the index."""
    index = Path(git(root, "rev-parse", "--path-format=absolute", "--git-path", "index"))
    return (
        git(root, "status", "--porcelain", "--ignored=no"),
        (Path(git(root, "rev-parse", "--absolute-git-dir")) / "HEAD").read_text(),
        git(root, "for-each-ref", "refs/heads"),
        index.read_bytes() if index.exists() else b"",
    )
