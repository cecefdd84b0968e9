"""What the simulator's Admin API keeps across restarts, and that it keeps no key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from chatgrid.dev.openai_simulator.options import KeyPolicy, Options
from chatgrid.dev.openai_simulator.server import running
from departments.keys.patterns import contains_key
from departments.keys.secret import Secret
from tests.openai_admin import OpenAICompany

DAY = timedelta(days=1)


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(keys=KeyPolicy.REGISTERED, state_file=tmp_path / "openai.json")


def make_two_keys(openai: OpenAICompany) -> tuple[str, Secret, Secret]:
    """A project with a live key that was used once, and a deleted one."""
    with openai.api() as api:
        project = api.create_project("kept")
        account = api.create_service_account(project.id, "chatgrid")
        api.grant_role(project.id, account.id)
        live, dead = (api.create_key(project.id, account.id, name, expires_in=DAY) for name in ("live", "dead"))
        api.allow_models(project.id, ["gpt-6-luna"])
        assert openai.asks(live.value) == 200
        api.delete_key(project.id, dead.id)
    return project.id, live.value, dead.value


def test_projects_keys_and_usage_survive_a_restart(options: Options) -> None:
    with running(options) as first:
        openai = OpenAICompany(first.address)
        project_id, live, dead = make_two_keys(openai)
    with running(options) as second:
        again = OpenAICompany(second.address, openai.admin_key)
        assert (again.asks(live), again.asks(dead), again.asks(live, "gpt-6.2-sol")) == (200, 401, 403)
        with again.api() as api:
            assert [project.id for project in api.list_projects()] == [project_id]
            since = datetime.now(UTC) - DAY
            [row] = api.usage("completions", since, datetime.now(UTC) + timedelta(minutes=1))
            assert row.requests >= 1


def test_the_file_holds_no_key_and_is_for_its_owner(options: Options) -> None:
    with running(options) as simulator:
        openai = OpenAICompany(simulator.address)
        _, live, dead = make_two_keys(openai)
    assert options.state_file is not None
    text = options.state_file.read_text(encoding="utf-8")
    assert not contains_key(text)
    assert not any(key.reveal() in text for key in (live, dead, openai.admin_key))
    assert options.state_file.stat().st_mode & 0o077 == 0


def test_a_reset_forgets_projects_and_opens_no_dead_key(options: Options) -> None:
    with running(options) as simulator:
        openai = OpenAICompany(simulator.address)
        _, live, _ = make_two_keys(openai)
        simulator.reset()
        assert openai.asks(live) == 401
        assert openai.get("projects")["data"] == []


def test_only_programs_on_this_machine_may_order(options: Options) -> None:
    with running(options) as simulator:
        headers = {"origin": "https://elsewhere.example"}
        answer = httpx2.post(f"{simulator.address}/__simulator/admin/settings", json={}, headers=headers)
        assert answer.status_code == 403


@pytest.mark.parametrize("order", [{"when": "later", "how": "cut"}, {"when": "before"}, {"unknown": 1}])
def test_an_order_it_does_not_understand_is_refused(options: Options, order: dict[str, object]) -> None:
    with running(options) as simulator:
        answer = httpx2.post(f"{simulator.address}/__simulator/admin/orders", json=order)
        assert answer.status_code == 400
