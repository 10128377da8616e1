"""The mail as one self-contained HTML page, from the template beside this file; all values are escaped."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

_TEMPLATE = Path(__file__).with_name("page.html.j2")


def render(**values: Any) -> str:
    """Return the page; "" without Jinja: such a Python lacks Ansible, too, and the mail on that is text only."""
    if find_spec("jinja2") is None:
        return ""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(values)
