from __future__ import annotations

import subprocess

import pytest
from gto.constants import tag_re

from finetide.errors import InputError
from finetide.registry.names import artifact, ledger_tag


def test_a_project_at_the_top_is_called_by_its_model() -> None:
    assert artifact("", "tickets") == "tickets"
    assert ledger_tag("tickets", 7) == "finetide/tickets/000007"


def test_a_project_in_a_subfolder_has_its_folder_in_front() -> None:
    assert artifact("examples/shop/", "tickets") == "examples/shop=tickets"


@pytest.mark.parametrize(
    "prefix", ["my models/", ".hidden/x/", "a..b/", "x.lock/", "ünï/", "a~b^c:d?e*[/", "@{/", "-x/", "end./"]
)
def test_any_folder_gives_a_tag_that_git_and_gto_accept(prefix: str) -> None:
    name = artifact(prefix, "tickets")
    for tag in (ledger_tag(name, 1), f"{name}@v1.0.0", f"{name}#champion#1"):
        subprocess.run(["git", "check-ref-format", f"refs/tags/{tag}"], check=True)
    assert tag_re.match(f"{name}@v1.0.0")


def test_folders_that_differ_only_in_forbidden_letters_stay_apart() -> None:
    assert artifact("a b/", "tickets") != artifact("a~b/", "tickets") != artifact("a_b/", "tickets")


@pytest.mark.parametrize("model", ["", "Tickets", "../up", "a/b", "9lives", "x" * 41, "tickets\n"])
def test_what_is_no_model_name_is_refused(model: str) -> None:
    with pytest.raises(InputError, match=r"is not a model name \(found .*\n  fix: lower-case letters, digits and dash"):
        artifact("", model)
