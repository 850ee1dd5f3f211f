"""What the server is told: deployments and automations made of params.yaml, once, whatever stood there before."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from support.project import edit_params

pytestmark = pytest.mark.filterwarnings("default")
REPOSITORY = Path(__file__).parents[2]
MODEL = "tickets"


class Server:
    """Prefect's client as far as `deploy` calls it; keeps what it is told, by name."""

    def __init__(self) -> None:
        self.deployments: dict[str, Any] = {}
        self.automations: dict[UUID, Any] = {}
        self.limits: dict[str, int] = {}
        self.pools: list[str] = []
        self.blocks = {"slack-webhook/ops": uuid4(), "custom-webhook/desk": uuid4()}

    def create_work_pool(self, pool: Any) -> None:
        from prefect.exceptions import ObjectAlreadyExists

        if pool.name in self.pools:
            raise ObjectAlreadyExists(Exception())
        self.pools.append(pool.name)

    def upsert_global_concurrency_limit_by_name(self, name: str, limit: int) -> None:
        self.limits[name] = limit

    def create_flow(self, flow: Any) -> str:
        return str(flow.name)

    def create_deployment(self, **told: Any) -> UUID:
        found = self.deployments.setdefault(told["name"], SimpleNamespace(id=uuid4()))
        vars(found).update(told)
        return UUID(str(found.id))

    def read_deployments(self, work_pool_filter: Any) -> list[Any]:
        (pool,) = work_pool_filter.name.any_
        return [one for one in self.deployments.values() if one.work_pool_name == pool]

    def delete_deployment(self, found: UUID) -> None:
        self.deployments = {name: one for name, one in self.deployments.items() if one.id != found}

    def read_automations_by_name(self, name: str) -> list[Any]:
        return [SimpleNamespace(id=key) for key, one in self.automations.items() if one.name == name]

    def create_automation(self, wanted: Any) -> None:
        self.automations[uuid4()] = wanted

    def update_automation(self, found: UUID, wanted: Any) -> None:
        self.automations[found] = wanted

    def read_block_document_by_name(self, name: str, block_type_slug: str, include_secrets: bool) -> Any:
        assert not include_secrets
        return SimpleNamespace(id=self.blocks[f"{block_type_slug}/{name}"])

    def delete_automation(self, found: UUID) -> None:
        del self.automations[found]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    return tmp_path


def told(server: Server, root: Path, pool: str = "finetide") -> list[str]:
    from finetide_flows.deploy import deploy

    return list(deploy(server, root, pool))  # type: ignore[arg-type]


def test_two_deployments_a_model_with_the_schedules_of_params(root: Path) -> None:
    server = Server()
    assert told(server, root) == [
        "retrain-tickets: 15 3 * * * Europe/Berlin", "monitor-tickets: every 15 minutes",
    ]  # fmt: skip
    retrain, monitor = server.deployments["retrain-tickets"], server.deployments["monitor-tickets"]
    (nightly,), (often,) = retrain.schedules, monitor.schedules
    assert (nightly.schedule.cron, nightly.schedule.timezone) == ("15 3 * * *", "Europe/Berlin")
    assert (often.schedule.interval.total_seconds(), often.active) == (900, True)
    assert (retrain.concurrency_limit, retrain.concurrency_options.collision_strategy) == (1, "ENQUEUE")
    assert monitor.concurrency_options.collision_strategy == "CANCEL_NEW"
    assert retrain.parameters == {"model": MODEL, "project": str(root), "reason": "schedule", "isolated": True}
    assert retrain.tags == ["finetide", MODEL]
    assert retrain.job_variables == {"stream_output": False}
    assert (root / "drop" / MODEL).is_dir()
    assert server.limits == {"finetide-training": 1}


def test_no_folder_is_made_for_a_prefix_on_s3(root: Path) -> None:
    edit_params(root, lambda params: params["schedule"].update(drop="s3://tide/new"), MODEL)
    before = sorted(root.iterdir())
    told(Server(), root)
    assert sorted(root.iterdir()) == before


def test_a_recurrence_rule_and_no_schedule_at_all(root: Path) -> None:
    def change(params: Any) -> None:
        params["schedule"]["retrain"].update(cron=None, rrule="FREQ=WEEKLY;BYDAY=MO")
        params["schedule"]["monitor"].update(every_minutes=None)

    edit_params(root, change, MODEL)
    server = Server()
    assert told(server, root)[1] == "monitor-tickets: by hand or by an event only"
    (weekly,) = server.deployments["retrain-tickets"].schedules
    assert weekly.schedule.rrule.endswith("FREQ=WEEKLY;BYDAY=MO")
    assert weekly.schedule.timezone == "Europe/Berlin"
    assert server.deployments["monitor-tickets"].schedules == []


def test_a_shift_event_starts_the_retraining_of_its_model_and_then_cools_down(root: Path) -> None:
    server = Server()
    told(server, root)
    shift = next(one for one in server.automations.values() if MODEL in one.tags)
    assert shift.trigger.expect == {"finetide.shift.detected"}
    assert shift.trigger.match.root == {"prefect.resource.id": "finetide.model.tickets"}
    assert (shift.trigger.threshold, shift.trigger.within.total_seconds()) == (1, 720 * 60)
    (action,) = shift.actions
    assert action.deployment_id == server.deployments["retrain-tickets"].id
    assert action.parameters == {"reason": "shift {{ event.payload.verdict }}"}


def test_a_silent_run_is_marked_but_not_one_that_waits_for_a_person(root: Path) -> None:
    server = Server()
    told(server, root)
    silence = next(one for one in server.automations.values() if "heartbeat" in one.name)
    assert silence.trigger.within.total_seconds() == 90
    assert {"prefect.flow-run.Suspended", "finetide.approval.wanted"} <= silence.trigger.expect
    assert silence.actions[0].state.value == "CRASHED"


def test_a_run_that_a_worker_took_and_no_process_began_is_marked(root: Path) -> None:
    server = Server()
    told(server, root)
    pending = next(one for one in server.automations.values() if "no process took up" in one.name)
    assert pending.trigger.after == {"prefect.flow-run.Pending"}
    assert {"prefect.flow-run.Running", "prefect.flow-run.AwaitingConcurrencySlot"} <= pending.trigger.expect
    assert pending.trigger.within.total_seconds() < 120
    ours = {f"prefect.deployment.{one.id}" for one in server.deployments.values()}
    assert set(pending.trigger.match_related.root["prefect.resource.id"]) == ours
    assert pending.actions[0].state.value == "CRASHED"


def test_told_twice_nothing_is_there_twice_and_a_model_that_is_gone_goes(root: Path) -> None:
    import uuid

    from finetide_flows import automations

    server = Server()
    told(server, root)
    first = {name: one.id for name, one in server.deployments.items()}
    server.create_deployment(
        name="retrain-gone", work_pool_name="finetide", tags=["finetide", "gone"], parameters={}, id=uuid.uuid4()
    )
    schedule = SimpleNamespace(cool_down_minutes=1.0)
    server.create_automation(automations.on_shift("gone", "finetide", schedule, uuid.uuid4()))  # type: ignore[arg-type]
    told(server, root)
    assert {name: one.id for name, one in server.deployments.items()} == first
    assert len(server.automations) == 3


def test_on_a_server_of_others_names_are_this_folders_own(root: Path) -> None:
    server = Server()
    told(server, root, "finetide-shop-0a1b2c")
    assert set(server.deployments) == {"retrain-tickets-shop-0a1b2c", "monitor-tickets-shop-0a1b2c"}
    shift = next(one for one in server.automations.values() if MODEL in one.tags)
    assert shift.trigger.match.root == {"prefect.resource.id": "finetide.model.tickets-shop-0a1b2c"}
    assert shift.name == "finetide-shop-0a1b2c: shift of tickets starts a retraining"


def telling(root: Path, **settings: Any) -> None:
    edit_params(root, lambda params: params["schedule"]["notify"].update(settings), MODEL)


def names(server: Server) -> set[str]:
    return {one.name.partition(": ")[2] for one in server.automations.values()}


SCHEDULES = {
    "shift of tickets starts a retraining", "a run without heartbeat has crashed",
    "a run that no process took up has crashed",
}  # fmt: skip


def test_notices_of_the_wanted_kinds_go_to_every_block(root: Path) -> None:
    server = Server()
    telling(root, blocks=["slack-webhook/ops", "custom-webhook/desk"], again_minutes=60.0)
    told(server, root)
    assert names(server) == SCHEDULES | {
        "notices of tickets", "notices of tickets: a run failed outside our code", "notices of tickets: a run crashed",
        "notices: no worker",
    }  # fmt: skip
    own = next(one for one in server.automations.values() if one.name == "finetide: notices of tickets")
    kinds = ("failed", "halted", "approval-wanted", "promoted", "rolled-back")
    assert own.trigger.expect == {f"finetide.notice.{kind}" for kind in kinds}
    assert own.trigger.match.root == {"prefect.resource.id": "finetide.model.tickets"}
    assert (own.trigger.for_each, own.trigger.within.total_seconds()) == ({"finetide.cause"}, 3600)
    assert {action.block_document_id for action in own.actions} == set(server.blocks.values())
    assert {(action.subject, action.body) for action in own.actions} == {
        ("{{ event.payload.subject }}", "{{ event.payload.body }}")
    }
    crash = next(one for one in server.automations.values() if one.name.endswith("a run crashed"))
    ids = [f"prefect.deployment.{server.deployments[f'{kind}-tickets'].id}" for kind in ("retrain", "monitor")]
    assert crash.trigger.match_related.root == {"prefect.resource.id": ids}
    assert crash.actions[0].subject == "tickets: the process of a run is gone"
    assert "why:   {{ event.resource['prefect.state-message'] }}\n" in crash.actions[0].body
    gone = next(one for one in server.automations.values() if one.name.endswith("no worker"))
    assert gone.trigger.match.root == {
        "prefect.resource.id": "prefect.work-pool.*", "prefect.resource.name": "finetide",
    }  # fmt: skip
    assert len(gone.actions) == 2


def test_only_what_was_asked_for_is_told_and_what_is_not_any_more_goes(root: Path) -> None:
    server = Server()
    telling(root, blocks=["slack-webhook/ops"])
    told(server, root)
    telling(root, about=["promoted", "crashed"])
    told(server, root)
    assert names(server) == SCHEDULES | {"notices of tickets", "notices of tickets: a run crashed"}
    own = next(one for one in server.automations.values() if one.name == "finetide: notices of tickets")
    assert own.trigger.expect == {"finetide.notice.promoted"}
    telling(root, about=[])
    told(server, root)
    assert names(server) == SCHEDULES
    telling(root, about=["worker-gone"], blocks=[])
    told(server, root)
    assert names(server) == SCHEDULES


def test_on_a_shared_server_a_model_that_is_gone_takes_its_automations_along(root: Path) -> None:
    from ruamel.yaml import YAML

    server, pool = Server(), "finetide-shop-0a1b2c"
    telling(root, blocks=["slack-webhook/ops"])
    yaml = YAML()
    with (root / "params.yaml").open() as stream:
        params = yaml.load(stream)
    before = params["models"][MODEL]
    params["models"]["mail"] = before
    with (root / "params.yaml").open("w") as stream:
        yaml.dump(params, stream)
    told(server, root, pool)
    assert "notices of mail" in names(server)
    del params["models"]["mail"]
    with (root / "params.yaml").open("w") as stream:
        yaml.dump(params, stream)
    told(server, root, pool)
    assert set(server.deployments) == {"retrain-tickets-shop-0a1b2c", "monitor-tickets-shop-0a1b2c"}
    assert not [name for name in names(server) if "mail" in name]
