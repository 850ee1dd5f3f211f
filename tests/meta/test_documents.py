"""The manual is held against the code: verbs, settings, stages, files."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from finetide.cli.main import cli
from finetide.config.graph import stage_names
from finetide.config.load import read_yaml
from finetide.errors import FinetideError
from finetide.pipeline import codelock

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_params_page_is_what_the_settings_say() -> None:
    spec = importlib.util.spec_from_file_location("make_params", ROOT / "docs" / "make_params.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.table() == (ROOT / "docs" / "params.md").read_text(encoding="utf-8")


def test_every_setting_is_explained() -> None:
    lines = [line for line in (ROOT / "docs" / "params.md").read_text(encoding="utf-8").splitlines() if "| `" in line]
    empty = [line for line in lines if line.rstrip().endswith("|  |")]
    assert not empty


@pytest.mark.parametrize("verb", sorted(cli.commands))
def test_every_verb_is_in_the_readme_and_has_an_example(verb: str) -> None:
    assert f"finetide {verb}" in README
    command = cli.commands[verb]
    assert command.help
    assert command.epilog
    for line in command.epilog.strip().splitlines():
        words = shlex.split(line.strip())
        assert words[:2] == ["finetide", verb]
        command.make_context(verb, words[2:], resilient_parsing=False)


def test_every_command_of_dvc_yaml_parses() -> None:
    document = read_yaml(ROOT / "dvc.yaml")
    for name, stage in document["stages"].items():
        words = shlex.split(stage["do"]["cmd"].replace("${key}", "tickets"))
        assert words[:2] == ["finetide", "stage"]
        context = cli.commands["stage"].make_context("stage", words[2:])
        assert context.params == {"name": name, "model": "tickets"}
        assert (ROOT / "src" / "finetide" / "stages" / f"{name}.py").is_file()


def test_every_stage_waits_for_the_key_of_its_code() -> None:
    for name, stage in read_yaml(ROOT / "dvc.yaml")["stages"].items():
        assert {"finetide.lock": [f"stages.${{key}}.{name}"]} in stage["do"]["params"]


def test_readme_commands_exist() -> None:
    for verb in re.findall(r"^\s*finetide ([a-z]+)", README, flags=re.MULTILINE):
        assert verb in cli.commands
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for target in re.findall(r"`make ([a-z-]+)`", README):
        assert target in targets


def test_stages_are_named_in_the_readme() -> None:
    for stage in stage_names(ROOT):
        assert stage in README


def test_exit_codes_page_lists_those_of_the_error_tree() -> None:
    page = (ROOT / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    waiting: list[type[FinetideError]] = [FinetideError]
    while waiting:
        error = waiting.pop()
        waiting.extend(error.__subclasses__())
        assert f"| {error.exit_code} |" in page


def test_readme_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_params_yaml_round_trips_without_a_default() -> None:
    from finetide.config.load import check
    from finetide.config.params import Params

    document = read_yaml(ROOT / "params.yaml")
    assert check(document, Params, file="params.yaml").model_dump(by_alias=True, mode="json") == document


def test_init_writes_the_same_graph_as_the_root() -> None:
    assert (ROOT / "dvc.yaml").read_bytes() == (ROOT / "src" / "finetide" / "init" / "graph.yaml").read_bytes()


def test_init_preset_has_the_settings_of_the_root() -> None:
    preset = read_yaml(ROOT / "src" / "finetide" / "init" / "presets" / "text-classification.yaml")
    assert preset.keys() == read_yaml(ROOT / "params.yaml")["models"]["tickets"].keys()


def test_finetide_lock_is_what_the_code_gives() -> None:
    """The code only: versions of Python and libraries are those of the machine that refreshed it last."""

    def codes(document: Any) -> dict[str, str]:
        return {stage: value["code"] for stage, value in document["stages"]["tickets"].items()}

    assert codes(read_yaml(ROOT / "finetide.lock")) == codes(codelock.compute(ROOT)), "run `finetide check`"


def test_help_of_the_group_names_every_exit_code() -> None:
    text = CliRunner().invoke(cli, ["--help"]).output
    for code in (0, 2, 3, 4, 5, 6, 7):
        assert f"{code} " in text
