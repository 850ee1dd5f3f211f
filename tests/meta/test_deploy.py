"""What lies in deploy/ names commands, files and settings that are there. Nothing is pulled, started or installed."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from finetide.cli.main import cli
from finetide.config.load import read_yaml
from finetide.operate import database, environment

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
CONTAINER = ROOT / "deploy" / "container"
VENV = "/srv/finetide/venv/bin/"


def unit(name: str) -> configparser.ConfigParser:
    found = configparser.ConfigParser(strict=True, interpolation=None, delimiters=("=",))
    found.optionxform = str  # type: ignore[assignment, method-assign]
    found.read(UNITS / name)
    return found


def compose() -> dict[str, Any]:
    found = read_yaml(CONTAINER / "compose.yaml")
    assert isinstance(found, dict)
    return found


def parses(words: list[str]) -> None:
    """Whether the words after ``finetide`` are a command of ours. Raises what click raises."""
    cli.commands[words[0]].make_context(words[0], words[1:], resilient_parsing=False)


def test_every_command_of_the_units_is_one_of_ours() -> None:
    service = unit("finetide@.service")["Service"]
    for key, verb in (("ExecStart", "up"), ("ExecReload", "up"), ("ExecStop", "down")):
        assert service[key] == f"{VENV}finetide {verb}"
        parses(shlex.split(service[key])[1:])
    assert unit("finetide-watch@.service")["Service"]["ExecStart"] == "systemctl reload finetide@%i.service"
    assert database.NAME in (UNITS / "finetide@.service").read_text()


def test_the_service_may_write_its_project_and_nothing_else() -> None:
    service = unit("finetide@.service")["Service"]
    assert service["ReadWritePaths"] == service["WorkingDirectory"] == "/srv/finetide/%i"
    assert (service["ProtectSystem"], service["NoNewPrivileges"], service["User"]) == ("strict", "yes", "finetide")


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    if not (tool := shutil.which("systemd-analyze")):
        pytest.skip("no systemd-analyze on this machine")
    for source in UNITS.iterdir():  # it looks whether programs are there
        text = (
            source.read_text().replace(f"{VENV}finetide", sys.executable).replace("=systemctl ", f"={sys.executable} ")
        )
        (tmp_path / source.name.replace("@.", "@support.")).write_text(text)
    files = sorted(str(path) for path in tmp_path.iterdir())
    done = subprocess.run([tool, "verify", "--man=no", *files], capture_output=True, text=True, check=False)
    # Without a running systemd it may say more, about units of the machine.
    ours = [line for line in done.stderr.splitlines() if "finetide" in line]
    assert not ours, ours


def test_compose_names_a_server_a_worker_and_their_database() -> None:
    services = compose()["services"]
    assert list(services) == ["postgres", "server", "worker"]
    address = services["server"]["environment"][database.NAME]
    given = services["postgres"]["environment"]
    assert address.startswith(f"postgresql+asyncpg://{given['POSTGRES_USER']}:${{POSTGRES_PASSWORD}}@postgres:5432/")
    assert address.endswith(f"/{given['POSTGRES_DB']}")
    # As the server of `finetide up` has it: what is leased outlives the server.
    lease = "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"
    ours = environment.of_server(ROOT, "http://127.0.0.1:4200/api", sealed=False)
    assert services["server"]["environment"][lease] == ours[lease]
    port = services["server"]["command"][-1]
    assert services["server"]["command"][:3] == ["prefect", "server", "start"]
    assert services["worker"]["environment"]["PREFECT_API_URL"] == f"http://server:{port}/api"
    assert all(said.startswith("127.0.0.1:") for said in services["server"]["ports"])  # it has no login
    assert "ports" not in services["postgres"]
    assert services["worker"]["hostname"]  # else the work pool would be another after each update
    assert services["worker"]["depends_on"] == {"server": {"condition": "service_healthy"}}
    built = services["server"]["build"]
    assert (CONTAINER / built["context"] / built["dockerfile"]).resolve() == CONTAINER / "Containerfile"
    text = (CONTAINER / "compose.yaml").read_text()
    page = (ROOT / "docs" / "how-to" / "deploy.md").read_text(encoding="utf-8")
    for name in set(re.findall(r"\$\{(\w+)", text)):
        assert f"{name}=" in page, f"{name} is not explained"


def test_what_the_containerfile_copies_is_there_and_what_it_installs_is_ours() -> None:
    text = (CONTAINER / "Containerfile").read_text()
    for line in re.findall(r"^COPY (.+)$", text, flags=re.MULTILINE):
        for name in line.split()[:-1]:
            assert (ROOT / name).exists(), name
    extras = set(re.findall(r"'\.\[(.+)\]'", text)[0].split(","))
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert extras <= set(project["optional-dependencies"])
    (pinned,) = re.findall(r"torch==([0-9.]+)", text)
    assert f"\ntorch=={pinned}\n" in (ROOT / "constraints.txt").read_text()
    (said,) = re.findall(r"^CMD (.+)$", text, flags=re.MULTILINE)
    parses(re.findall(r'"([^"]+)"', said)[1:])
    (place,) = re.findall(r"COPY deploy/container/worker.sh (\S+)", text)
    assert compose()["services"]["worker"]["command"] == [Path(place).name]


def test_the_workers_script_is_a_script_of_our_commands(tmp_path: Path) -> None:
    script = CONTAINER / "worker.sh"
    assert script.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", str(script)], check=True)
    said = re.findall(r"finetide (up|down|\w+)(?= >|;|$)", script.read_text(), flags=re.MULTILINE)
    assert set(said) == {"up", "down"}


def test_the_workers_script_ends_with_down_when_it_is_told_to_stop(tmp_path: Path) -> None:
    """With a `finetide` that only writes down what it was asked."""
    fake = tmp_path / "bin" / "finetide"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    fake.chmod(0o755)
    (tmp_path / ".finetide" / "prefect").mkdir(parents=True)
    (tmp_path / ".finetide" / "prefect" / "worker.log").write_text("the worker says\n")
    env = {"PATH": f"{fake.parent}:/usr/bin:/bin"}
    with subprocess.Popen(["sh", str(CONTAINER / "worker.sh")], cwd=tmp_path, env=env, stdout=subprocess.PIPE,
                          start_new_session=True) as shell:  # fmt: skip
        assert shell.stdout is not None
        assert shell.stdout.readline() == b"the worker says\n"  # the log is what the container prints
        shell.terminate()
        assert shell.wait(30) == 0
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGTERM)  # tail and sleep, which go with a container
    assert (tmp_path / "asked").read_text() == "up\ndown\n"
