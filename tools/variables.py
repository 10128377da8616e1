"""Write docs/variables.md, the table of all variables of users, from the argument_specs of role altbackup.

With --check, write nothing and exit 1 if the file is not up to date.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "variables.md"
ON = {"main": "all, the whole run", "source": "source", "target": "target", "store": "store"}
HEAD = """\
# Variables

<!-- Written by tools/variables.py from roles/altbackup/meta/argument_specs.yml: change that, then run the tool. -->

All variables of users. They are set in the inventory, for hosts or groups, or for one run with `-e`. An unknown name that
begins with `altbackup_` is an error; a variable on a node that does not use it is none. Variables of the whole run must be the same
on all nodes: set them in `group_vars/all` or with `-e`.

| variable | type | default | on | meaning |
|---|---|---|---|---|
"""


def main() -> int:
    """Write or check the page; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 if the page is not up to date")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page, by default docs/variables.md")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from plugins.plugin_utils.planning.settings import load_specs

    text = render(load_specs())
    if options.check:
        if options.page.is_file() and options.page.read_text(encoding="utf-8") == text:
            return 0
        print(f"{options.page} is not up to date: run tools/variables.py", file=sys.stderr)
        return 1
    options.page.write_text(text, encoding="utf-8")
    return 0


def render(specs: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return the page; `specs` is {entry point: {variable: option}}."""
    where: dict[str, list[str]] = {}
    options: dict[str, Mapping[str, Any]] = {}
    for entry, variables in specs.items():
        for name, option in variables.items():
            where.setdefault(name, []).append(ON[entry])
            options[name] = option
    return HEAD + "".join(row(name, option, ", ".join(where[name])) for name, option in options.items())


def row(name: str, option: Mapping[str, Any], where: str) -> str:
    """Return a variable's line of the table; `where` names the nodes that use it."""
    kind = "str or dict" if option["type"] == "raw" else option["type"]
    if option.get("elements", "raw") != "raw":
        kind = f"{kind} of {option['elements']}"
    if "choices" in option:
        kind = f"{kind}: {', '.join(f'`{choice}`' for choice in option['choices'])}"
    cells = [f"`{name}`", kind, default(option), where, meaning(option["description"])]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def default(option: Mapping[str, Any]) -> str:
    """Return the text for an option's default."""
    if option.get("required"):
        return "required"
    value = option.get("default")
    if value is None:
        return "none"
    if value == "":
        return "empty"
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def meaning(description: str | list[str]) -> str:
    """Return a description in Ansible's markup as Markdown."""
    text = " ".join([description] if isinstance(description, str) else description)
    return re.sub(r"\b(?:C|O|V)\((?:\w+#)?([^)]*)\)", r"`\1`", text)


if __name__ == "__main__":
    sys.exit(main())
