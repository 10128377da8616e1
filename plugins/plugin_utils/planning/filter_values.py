"""Values between Ansible and filters: arguments become plain, results are never templates, and errors name the filter."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, TypeVar

from ansible.errors import AnsibleFilterError
from ansible.utils import unsafe_proxy
from jinja2.exceptions import TemplateError

try:
    from ansible.template import trust_as_template as _trust  # noqa: F401
except ImportError:  # before ansible-core 2.19 any text not marked unsafe is a template
    MARKS_TRUST = False
else:
    MARKS_TRUST = True

_Result = TypeVar("_Result", dict[str, Any], list[dict[str, Any]], list[str])


def is_template(raw: Any) -> bool:
    """Return whether a variable as written is a template."""
    return isinstance(raw, str) and is_unevaluated(raw)


def explain(error: Exception) -> str:
    """Return why a value could not be evaluated, without quoting any value."""
    undefined = re.search(r"'([A-Za-z_][\w.]*)' is undefined", str(error))
    if undefined:
        return f"is a template with {undefined[1]!r}, which is undefined"
    if "vault" in f"{type(error).__name__} {error}".lower():
        return "is in a vault and could not be decrypted"
    return "is a template that could not be evaluated"


def plain(value: Any, strict: bool = False) -> Any:
    """Return a value of Ansible's in plain types. With `strict` raise TemplateError for a template that was not evaluated."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        return {plain(key): plain(entry, strict) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(entry, strict) for entry in value]
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, date):
        return value.isoformat()
    if strict and not MARKS_TRUST and is_unevaluated(value):
        raise TemplateError("its template was not evaluated")
    return str(value)


def is_unevaluated(value: Any) -> bool:
    """Return whether a value is a template that ansible-core before 2.19 left unevaluated."""
    return not isinstance(value, unsafe_proxy.AnsibleUnsafe) and re.search(r"{{|{%", str(value)) is not None


def untrusted(value: _Result) -> _Result:
    """Return a result marked so that no text in it, such as a name found on a node, is evaluated as a template."""
    result: _Result = value if MARKS_TRUST else unsafe_proxy.wrap_var(value)
    return result


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that raises AnsibleFilterError with its name for wrong arguments."""

    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except (KeyError, TypeError, AttributeError) as error:
            raise AnsibleFilterError(f"altbackup.core.{function.__name__}: {type(error).__name__}: {error}") from error

    return call
