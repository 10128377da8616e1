"""Plain values of the events that Ansible hands to a callback, for each supported version's attribute names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.playbook.handler import Handler

from .model import Place
from .plain_text import clean
from .run_log import is_censored


def host_of(result: Any) -> str:
    """Return the host's name of an event's result. (ansible-core 2.17 and 2.18 have no public names.)"""
    return str((getattr(result, "host", None) or result._host).get_name())


def task_of(result: Any) -> Any:
    """Return the task object of an event's result, by its public name or, before ansible-core 2.19, its private one."""
    return getattr(result, "task", None) or result._task


def values_of(result: Any) -> Any:
    """Return what the task returned, normally a mapping."""
    return result.result if hasattr(result, "result") else result._result


def place_of(task: Any, values: Any, play: str) -> Place:
    """Return the task as a Place; of a no_log task nothing that came out of a template, which may hold a secret."""
    hidden = bool(task.no_log) or is_censored(values)
    name = _raw_name(task) if hidden else str(task.name or "")
    role = getattr(task, "_role", None)
    return Place(
        uuid=str(task._uuid),
        name=clean(name or ("(its name is hidden by no_log)" if hidden else task.action), 300),
        role=str(role.get_name()) if role else "",
        action=str(task.action),
        path=str(task.get_path() or ""),
        play=play,
        handler=isinstance(task, Handler),
        no_log=hidden,
        run_once=bool(task.run_once),
        fatal=bool(task.any_errors_fatal),
        ignore_unreachable=bool(task.ignore_unreachable),
        delegate="" if "{{" in str(task.delegate_to) else str(task.delegate_to or ""),  # loop items name theirs
        user=str(task.remote_user or ""),
        become=str(task.become_user or "root") if task.become else "",
    )


def _raw_name(task: Any) -> str:
    """Return the task's name as its file has it, or "" if that is a template, whose value may be a secret."""
    source = task.get_ds() if hasattr(task, "get_ds") else None
    name = source.get("name") if isinstance(source, Mapping) else None
    return str(name) if name and "{{" not in str(name) and "{%" not in str(name) else ""
