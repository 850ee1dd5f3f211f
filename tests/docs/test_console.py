"""What quickstart, own-data and the how-to pages tell a reader to type works, and prints what they show."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from docs.pages import DOCS, blocks, not_printed
from docs.session import Shell, lenient
from support.forked import Forks
from support.messages import rows, write_csv
from support.micro import micro_base
from support.once import once
from support.project import edit_params, environment
from support.tuned import leave_behind, tuned_text

HOW_TO = sorted([*(path.relative_to(DOCS).as_posix() for path in (DOCS / "how-to").glob("*.md")), "on-call.md"])
# They run the whole pipeline anew; CI does.
LONG = {"on-call.md"} | {
    f"how-to/{name}.md"
    for name in (
        "adopt", "approve", "dvc-repro", "label-requests", "publish", "questions", "resume", "roll-back", "studies",
    )
}  # fmt: skip
# Of all console blocks on these pages, at most so many cannot run in a test, each with a reason beside it.
MOST_NOT_RUN = 10


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "micro"
    micro_base(folder, layers=2)
    return folder


@pytest.fixture(scope="module")
def after_own_data(tmp_path_factory: pytest.TempPathFactory, forks: Forks, base: Path) -> Path:
    """The folder as docs/own-data.md leaves it: project support with model intents in service."""

    def make(folder: Path) -> None:
        folder.mkdir()
        follow("own-data.md", folder, forks, base)

    return once(tmp_path_factory, "own-data", make)


def follow(page: str, folder: Path, forks: Forks, base: Path) -> None:
    """Type the page's commands in ``folder``."""
    with Shell(folder, forks, base) as shell:
        for block in blocks(page):
            for command in () if block.no_test else block.commands:
                code, output = shell.run(command)
                shown = f"{command.at}: {command.text}\nended with {code}\n{output}"
                assert code == command.exit_code, shown
                assert not (missing := not_printed(command.prints, output)), f"not printed: {missing}\n{shown}"


def test_own_data(after_own_data: Path) -> None:
    assert (after_own_data / "support" / "serving" / "intents" / "champion.json").is_file()


def test_quickstart(tmp_path: Path, forks: Forks, base: Path) -> None:
    """In a project of the repository's look, with the files that the page names."""
    shop = write_csv(tmp_path / "shop.csv", rows(90, "shop", 1))
    airline = write_csv(tmp_path / "airline.csv", rows(90, "airline", 2))
    root = tmp_path / "finetide"
    arguments = ["init", str(root), "--task", "text-classification", "--name", "tickets", "--reference", str(shop)]
    arguments += ["--incoming", str(airline), "--text", "body", "--label", "intent", "--base", str(base)]
    ended = forks.call(tmp_path, arguments, tmp_path / "log", environment())
    assert ended.code == 0, ended.output
    edit_params(root, lenient, "tickets")
    activate(root)
    follow("quickstart.md", root, forks, base)


@pytest.mark.parametrize("page", [pytest.param(page, marks=[pytest.mark.slow] * (page in LONG)) for page in HOW_TO])
def test_how_to(page: str, after_own_data: Path, tmp_path: Path, forks: Forks, base: Path) -> None:
    folder = tmp_path / "f"
    shutil.copytree(after_own_data, folder, symlinks=True)
    shutil.copytree(base, folder / "my-bert")
    if page == "how-to/adopt.md":
        leave_behind(tuned_text(folder / "runs"))
    follow(page, folder / "support", forks, base)


def activate(root: Path) -> None:
    """An environment is active already; the line of the page that activates one finds a script to read."""
    script = root / ".venv" / "bin" / "activate"
    script.parent.mkdir(parents=True)
    script.write_text("")


def test_few_blocks_do_not_run() -> None:
    found = [block for page in ("quickstart.md", "own-data.md", *HOW_TO) for block in blocks(page)]
    left_out = [block.at for block in found if block.no_test]
    assert len(left_out) <= MOST_NOT_RUN, left_out
    assert len(found) - len(left_out) >= len(HOW_TO)


def test_a_line_that_is_not_printed_is_found() -> None:
    """The comparison itself, on a case that must fail."""
    assert not_printed(("one … three", "four"), "zero\none  two three\nfour\n") == []
    assert not_printed(("four", "one"), "one\nfour\n") == ["one"]
