"""Everything that a person can meet has its place in the manual: verbs, settings, exit codes, files, errors."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from ruamel.yaml import YAML

import finetide.contracts
import finetide.runtime
from docs.pages import DOCS, ROOT, blocks
from finetide.cli.main import cli
from finetide.config.load import read_yaml
from finetide.config.schedule import Kind
from finetide.contracts.base import Contract
from finetide.errors import FinetideError
from finetide.operate.notices import NEXT
from finetide.runtime import Prediction, Predictor, VerifyReport, load

PAGES = sorted(DOCS.rglob("*.md"))


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_commands_page_is_what_the_help_says() -> None:
    spec = importlib.util.spec_from_file_location("make_commands", DOCS / "make_commands.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.page() == read("commands.md"), "python docs/make_commands.py"


@pytest.mark.parametrize("verb", sorted(cli.commands))
def test_every_verb_has_its_section(verb: str) -> None:
    assert f"## finetide {verb}\n" in read("commands.md")


def test_every_setting_has_its_line() -> None:
    text = read("params.md")

    def keys(value: Any, before: str) -> Iterator[str]:
        for name, inner in value.items():
            if isinstance(inner, dict) and inner:
                yield from keys(inner, f"{before}{name}.")
            else:
                yield f"{before}{name}"

    model = read_yaml(ROOT / "params.yaml")["models"]["tickets"]
    assert not [key for key in keys(model, "") if f"| `{key}` |" not in text]


def test_every_exit_code_is_explained_and_has_a_cause() -> None:
    codes, waiting = set(), [FinetideError]
    while waiting:
        error = waiting.pop()
        codes.add(error.exit_code)
        waiting += error.__subclasses__()
    page, heads = read("exit-codes.md"), re.findall(r"^## (.*)", read("troubleshooting.md"), flags=re.MULTILINE)
    for code in sorted(codes | {130}):
        assert f"| {code} |" in page
        assert any(str(code) in re.findall(r"\d+", head) for head in heads), code


def contracts() -> list[str]:
    """MODULE.CLASS of every shape that a file has as a whole: those with a schema version."""
    found = []
    for entry in pkgutil.iter_modules(finetide.contracts.__path__):
        module = importlib.import_module(f"finetide.contracts.{entry.name}")
        for name, value in inspect.getmembers(module, inspect.isclass):
            own = issubclass(value, Contract) and value.__module__ == module.__name__
            if own and "schema_version" in value.model_fields:
                found.append(f"{entry.name}.{name}")
    return found


def test_every_file_contract_has_its_place() -> None:
    found = contracts()
    assert "window.Window" in found
    assert not [name for name in found if f"`{name}`" not in read("files.md")]


def test_every_output_of_a_stage_has_its_line() -> None:
    text = read("files.md")
    for name, stage in read_yaml(ROOT / "dvc.yaml")["stages"].items():
        for entry in [*stage["do"].get("outs", []), *stage["do"].get("metrics", []), *stage["do"].get("plots", [])]:
            path = entry if isinstance(entry, str) else next(iter(entry))
            line = path.removeprefix("artifacts/${key}/")
            assert f"`{line}`" in text or f"`{line}/`" in text, f"{name}: {line}"


def test_every_file_that_init_writes_has_its_line() -> None:
    text = read("files.md")
    for name in ("params.yaml", "dvc.yaml", "finetide.lock", "data/MODEL/suite.json", "README.md",
                 "data/MODEL/window.json", "approvals/MODEL/.gitkeep", ".dvcignore", ".dvc/config"):  # fmt: skip
        assert f"`{name}`" in text, name


def test_every_name_of_the_runtime_is_explained() -> None:
    text = read("runtime.md")
    public = [name for name in vars(Predictor) if not name.startswith("_")]
    names = [*finetide.runtime.__all__, *public, *Prediction.__annotations__, *VerifyReport.__annotations__]
    assert not [name for name in names if f"`{name}" not in text and f"## {name}" not in text]
    assert not [name for name in inspect.signature(load).parameters if f"`{name}`" not in text]


def test_messages_in_troubleshooting_are_those_of_the_code() -> None:
    """Each piece in backticks of a first column is in a string of the source."""
    said = "\n".join(text for path in sorted((ROOT / "src").rglob("*.py")) for text in strings(path))
    pieces = []
    for row in re.findall(r"^\| (.*?) \|", read("troubleshooting.md"), flags=re.MULTILINE):
        if "(your shell's)" not in row:
            pieces += [piece for code in re.findall(r"`` ?(.+?)``|`([^`]+)`", row) for piece in code if piece]
    assert len(pieces) > 40
    missing = [piece for piece in pieces if not all(part.strip("`") in said for part in piece.split("…") if part)]
    assert not [piece for piece in missing if piece not in NOT_OURS]


# Words of the machine, of another program's, and of ours that are put together only while they are printed.
NOT_OURS = {"no space left on device", "permission denied", "has bytes that are not UTF-8", "has no model.safetensors"}


def strings(path: Path) -> Iterator[str]:
    """Every string of a module; of an f-string each fixed part."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_every_page_is_in_the_navigation() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    others = {"causes.md", "faults.md", "million-rows.md", "benchmarks.md"}  # written by tools, when they have run
    missing = [path.relative_to(DOCS).as_posix() for path in PAGES]
    assert not [name for name in missing if name not in nav and name not in others]


def test_links_between_pages_lead_somewhere() -> None:
    for path in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
            if not re.match(r"https?:", target):
                assert (path.parent / target).exists(), f"{path.relative_to(DOCS)}: {target}"


def test_a_reader_who_follows_links_comes_to_every_page() -> None:
    """From README or the manual's first page; records and decisions are found through the navigation."""
    seen: set[Path] = set()
    waiting = [ROOT / "README.md", DOCS / "index.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page.suffix == ".md" and page.is_file() and page not in seen:
            seen.add(page)
            targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
            waiting += [page.parent / target for target in targets if not re.match(r"https?:", target)]
    records = {"faults.md", "resumes.md", "million-rows.md", "benchmarks.md"}
    pages = [path for path in PAGES if path.parent.name != "adr" and path.name not in records]
    assert not [path.relative_to(DOCS).as_posix() for path in pages if path.resolve() not in seen]


def test_every_console_block_can_be_read() -> None:
    """Also on the pages whose blocks do not run in a test: verbs and make targets exist."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    for path in PAGES:
        for block in blocks(path.relative_to(DOCS).as_posix()):
            for command in block.commands:
                for verb in re.findall(r"^finetide ([a-z]+(?:-[a-z]+)*)", command.text):
                    assert verb in cli.commands, command.at
                for target in re.findall(r"^make ([a-z-]+)", command.text):
                    assert target in targets, command.at


def test_no_page_has_a_long_dash_or_names_a_machine() -> None:
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        assert not re.search("[\u2014\u2013]", text), path
        assert not re.search(r"/(home|root|Users|work)/\w", text), path


def test_every_kind_of_notice_has_its_section() -> None:
    page = read("on-call.md")
    kinds = get_args(Kind)
    assert set(NEXT) == set(kinds) == set(re.findall(r"^### (\S+)$", page, flags=re.MULTILINE))
    assert f"about: [{', '.join(kinds)}]" in page
    for kind, commands in NEXT.items():
        for command in commands:
            assert command.split()[1] in cli.commands, kind


def test_schedule_of_the_how_to_page_is_what_init_writes() -> None:
    preset = YAML(typ="safe").load(
        (ROOT / "src" / "finetide" / "init" / "presets" / "text-classification.yaml").read_text(encoding="utf-8")
    )
    assert preset["schedule"]["retrain"]["cron"] == "15 3 * * *"
    assert (preset["schedule"]["timezone"], preset["schedule"]["monitor"]["every_minutes"]) == ("UTC", 15.0)
    assert "03:15 UTC" in read("how-to/schedule.md")
    assert "every 15 minutes" in read("how-to/schedule.md")
