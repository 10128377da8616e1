"""The controller's end of a call: what it passes on, its limits, and what happens if a node does not answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action.normal import ActionModule as Normal

from ansible_collections.altbackup.core.plugins.plugin_utils.calls import action, run_state
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.run import CALL, PLAN
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.checks import Scope
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.plan import build_plan

STAGE = "altbackup.core.check"
OWN = {"node": "dayabay", "source": "dayabay", "role": "source", "base": "/backup", "label": "dayabay on dayabay"}
Answer = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture
def plan() -> dict[str, Any]:
    """A plan of a source with one target."""
    variables: dict[str, dict[str, Any]] = {
        "dayabay": {
            "altbackup_base": "/backup",
            "altbackup_items": [{"kind": "svn", "name": "dybsvn", "path": "/svn/dybsvn"}],
            "altbackup_targets": ["cms01"],
            "altbackup_step_timeout": "90s",
        },
        "cms01": {"altbackup_target_base": "/copies"},
    }
    groups = {"all": [*variables], "sources": ["dayabay"], "targets": ["cms01"]}
    return build_plan(variables, groups, {}, 1368182821.0, scope=Scope(["sources"], [*variables], ""), run={"id": "r"})


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that calls tarball_check, which the test answers, and returns (result, the options that it got)."""
    monkeypatch.setattr(run_state.constants, "DEFAULT_LOCAL_TMP", str(tmp_path))

    def make(
        answer: Answer,
        role: str = STAGE,
        args: dict[str, Any] | None = None,
        module: str = "tarball_check",
        node: str | None = None,
        **variables: Any,
    ) -> Any:
        task = SimpleNamespace(
            action=f"altbackup.core.{module}",
            args=dict(args or {}),
            _role=role,
            delegate_to=node,
            timeout=0,
            async_val=0,
            diff=False,
        )
        monkeypatch.setattr(Normal, "run", lambda self, tmp, task_vars: answer(self._task.args))
        plugin = action.ActionModule(task, SimpleNamespace(), SimpleNamespace(), None, None, None)
        return plugin.run(None, {"inventory_hostname": "dayabay", **variables}), task.args

    return make


def refuse(error: Exception) -> Answer:
    def answer(_: dict[str, Any]) -> dict[str, Any]:
        raise error

    return answer


def test_without_a_plan_the_module_gets_what_the_user_wrote_and_fails_as_others_do(call: Callable[..., Any]) -> None:
    result, options = call(lambda _: {"failed": True, "msg": "no", "rc": 3}, "", {"base": "/x"})
    assert (options, result["failed"], result["msg"]) == ({"base": "/x"}, True, "no")
    for error in (AnsibleConnectionFailure("no route"), AnsibleError("no shell")):
        with pytest.raises(type(error)):
            call(refuse(error), "", {"base": "/x"})


def test_a_module_of_set_up_fails_its_task_and_steers_nothing(call: Callable[..., Any], plan: dict[str, Any]) -> None:
    said = {"failed": True, "msg": "no", "missing": ["git"], "add_host": {"host_name": "x"}, "ansible_facts": {"x": 1}}
    result, options = call(lambda _: said, "altbackup.core.nodes", {"base": "/x"}, module="marked_base", **{PLAN: plan})
    assert (result, options) == ({"failed": True, "msg": "no", "missing": ["git"]}, {"base": "/x"})
    assert run_state.load("dayabay") == {}


def test_a_task_of_a_user_beside_a_plan_has_the_run_and_its_own_options(
    call: Callable[..., Any], plan: dict[str, Any]
) -> None:
    result, options = call(lambda _: {"failed": True, "msg": "no"}, "mine", {"base": "/x", "nice": 3}, **{PLAN: plan})
    assert (options["base"], options["nice"], options["run"]["id"]) == ("/x", 3, "r")
    assert result["failed"], "what a user's own task does not do fails it"
    assert run_state.load("dayabay") == {}


def test_a_call_of_a_stage_is_told_by_the_plan_and_its_failures_are_noted(
    call: Callable[..., Any], plan: dict[str, Any]
) -> None:
    why = {"reason": "it rotted", "category": "svn", "name": "dybsvn"}
    result, options = call(lambda _: {"failures": [why], "failed": True, "rc": 1}, **{PLAN: plan, CALL: OWN})
    assert (options["base"], options["run"]["id"], options["fail"]) == ("/backup", "r", False)
    assert not {"failed", "rc", "unreachable"} & set(result), "a task that fails loses its host"
    (failure,) = result["failures"]
    assert (failure["reason"], failure["stage"]) == ("it rotted", "check")
    assert [entry["reason"] for entry in run_state.load("dayabay")["failures"]] == ["it rotted"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (refuse(AnsibleConnectionFailure("no route to host")), "unreachable: no route to host"),
        (lambda _: {"unreachable": True, "msg": "no route to host"}, "unreachable: no route to host"),
        (refuse(AnsibleError("the connection plugin 'x' was not found")), "the connection plugin 'x' was not found"),
        (lambda _: {"failed": True, "module_stdout": "Killed", "rc": 137}, "killed by SIGKILL"),
        (lambda _: {"failures": "none"}, "failures is no list"),
    ],
)
def test_what_does_not_answer_is_a_failure_of_that_node_and_no_lost_host(
    answer: Answer, told: str, call: Callable[..., Any], plan: dict[str, Any]
) -> None:
    result, _ = call(answer, **{PLAN: plan, CALL: OWN})
    assert "unreachable" not in result and "failed" not in result
    (failure,) = result["failures"]
    assert told in failure["reason"] and failure["node"] == "dayabay"


def test_a_call_that_does_not_end_is_ended(
    call: Callable[..., Any], plan: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(action, "bound", lambda *_: 1)

    def sleep(_: dict[str, Any]) -> dict[str, Any]:
        try:
            time.sleep(60)
        except Exception:  # noqa: BLE001 (what a connection does may catch this much)
            return {}
        return {}

    began = time.monotonic()
    result, _ = call(sleep, **{PLAN: plan, CALL: OWN})
    assert time.monotonic() - began < 30
    (failure,) = result["failures"]
    assert "expected time frame (1)" in failure["reason"] or "1 s" in failure["reason"], failure


def test_a_call_for_which_there_is_nothing_to_do_is_not_made(call: Callable[..., Any], plan: dict[str, Any]) -> None:
    result, _ = call(
        refuse(AssertionError("it was made")), "altbackup.core.synchronize", module="tarball_send", **{PLAN: plan}
    )
    assert result["skipped"] is True


def test_an_identity_goes_to_a_node_in_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    module = action.ActionModule.__new__(action.ActionModule)
    module._task = SimpleNamespace(args={"identity": "secret"})
    monkeypatch.setattr(Normal, "_is_pipelining_enabled", lambda self, style, wrap_async=False: style == "new")
    assert module._is_pipelining_enabled("new") is True
    with pytest.raises(AnsibleError, match="turn pipelining on"):
        module._is_pipelining_enabled("old")
    module._task.args = {}
    assert module._is_pipelining_enabled("old") is False


def test_where_python_is_on_a_target_is_found_out_once(call: Callable[..., Any], plan: dict[str, Any]) -> None:
    """Ansible forgets it for nodes to which calls are delegated, and asks anew in each call."""
    asked = []
    fact = "discovered_interpreter_python"
    for _ in range(3):
        facts: dict[str, Any] = {}

        def answer(_options: dict[str, Any], facts: dict[str, Any] = facts) -> dict[str, Any]:
            if fact not in facts:
                asked.append(fact)
            facts.setdefault(fact, "/usr/bin/python3.11")
            return {"changed": False}

        about = {**OWN, "node": "cms01", "role": "target", "base": "/copies/dayabay"}
        delegated = {"cms01": {"ansible_facts": facts}}
        call(answer, node="cms01", **{PLAN: plan, CALL: about, "ansible_delegated_vars": delegated})
    assert asked == [fact]
