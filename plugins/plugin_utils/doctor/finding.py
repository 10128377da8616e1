"""A finding of doctor, and the commands that mend what is wrong. Pure."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...module_utils.system.visible import one_line
from ..report.secrecy import mask_text

OK, WRONG, UNKNOWN = "ok", "wrong", "unknown"
_ONE_LINE = re.compile(r"[^:]+:\s+(?:\[[^\]]*\]|[^\s\[{|>&#].*?)\s*(?:#.*)?")
"""Matches a variable of YAML with its value on the same line"""
_TEMPLATE = re.compile(r"\{[{%#]")
"""Matches what Ansible would evaluate on the controller, even if a node supplied it"""
_KEY = re.compile(r"[\w@.-]{1,64} [A-Za-z0-9+/=]{16,4096}", re.ASCII)
_PLAIN = re.compile(r"[\w./:@%+,-]+", re.ASCII)


@dataclass(frozen=True)
class Finding:
    """The state of one thing on a node or pair, and what mends it."""

    node: str
    what: str
    state: str = OK
    why: str = ""
    mend: str = ""
    """A shell command for the controller or, if none can know what is meant, a sentence that begins with `# `"""
    pair: str = ""
    """`source -> target`, if it is about a pair"""
    set_up: bool = False
    """Whether setup.yml mends it"""

    def plain(self) -> dict[str, str]:
        """Return the finding as a mapping of plain lines, with secrets masked."""
        texts = {"node": self.node, "pair": self.pair, "what": self.what, "state": self.state}
        texts |= {"why": mask_text(self.why), "mend": self.mend, "set_up": "yes" if self.set_up else ""}
        return {name: one_line(text) for name, text in texts.items()}


@dataclass(frozen=True)
class Commands:
    """Builds commands for the inventory in use."""

    inventory: Sequence[str] = ()
    """Values of Ansible's options -i"""
    ansible: str = "ansible"
    program: str = "altbackup"
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """{file of the inventory: its lines}"""

    @property
    def named(self) -> list[str]:
        return [word for name in self.inventory for word in ("-i", name)]

    def on(self, node: str, module: str, become: bool = False, extra: Sequence[str] = (), **arguments: Any) -> str:
        """Return the command that calls a module of ansible.builtin on a node; a sentence if an argument looks like a template."""
        if _TEMPLATE.search(json.dumps(arguments)):
            return f"# {module} on {node}, by hand: a name there looks like a template, which Ansible would evaluate"
        return self.on_by_template(node, module, become, extra, **arguments)

    def on_by_template(
        self, node: str, module: str, become: bool = False, extra: Sequence[str] = (), **arguments: Any
    ) -> str:
        """Return the same command, also if an argument is a template, which must come from this collection."""
        simple = all(isinstance(value, str) and _PLAIN.fullmatch(value) for value in arguments.values())
        given = " ".join(f"{name}={value}" for name, value in arguments.items()) if simple else json.dumps(arguments)
        words = [self.ansible, node, *self.named, *(["--become"] if become else []), *extra]
        return shlex.join([*words, "-m", f"ansible.builtin.{module}", "-a", given])

    def run_on(self, node: str, argv: Sequence[str], become: bool = False) -> str:
        """Return the command that runs a command on a node."""
        return self.on(node, "command", become, argv=list(argv))

    def install(self, node: str, package: str, become: bool = False, extra: Sequence[str] = ()) -> str:
        """Return the command that installs a package on a node, whose lists of packages may be missing or old."""
        return self.on(node, "package", become, extra, name=package, state="present", update_cache="true")

    def here(self, module: str, **arguments: Any) -> str:
        """Return the command that calls a module of ansible.builtin on this machine, whatever the inventory; a sentence as `on` does."""
        if _TEMPLATE.search(json.dumps(arguments)):
            return (
                f"# {module} on this machine, by hand: a name there looks like a template, which Ansible would evaluate"
            )
        return shlex.join([self.ansible, "localhost", "-m", f"ansible.builtin.{module}", "-a", json.dumps(arguments)])

    def own(self, *words: str) -> str:
        """Return a command of `altbackup`."""
        return shlex.join([self.program, *words, *self.named])

    def set_up(self, pair: str) -> str:
        """Return the command that sets up a source and one of its targets, whatever ails its others."""
        source, target = pair.split(" -> ")
        return self.own("run", "setup", "--limit", source, "-e", f"altbackup_only_targets={target}")

    def setting(self, node: str, name: str, value: Any) -> str:
        """Return the command that sets a host's variable in the inventory; a sentence unless that is a folder of simple files."""
        if _TEMPLATE.search(json.dumps(value)):
            return f"# set {name} for {node} by hand: its value looks like a template"
        folder = next(
            (
                path
                for path in self.inventory
                if path not in self.files and not path.endswith((".yml", ".yaml", ".ini"))
            ),
            "",
        )
        if not folder or "," in folder:
            return f"# set {name}: {json.dumps(value)} for {node} in the inventory"
        stem = os.path.join(folder, "host_vars", node)
        own = [path for path in self.files if path.startswith((f"{stem}/", f"{stem}."))]
        setting = [path for path in own if any(line.startswith(f"{name}:") for line in self.files[path])]
        path = (setting or own or [f"{stem}.yml"])[0]
        held = [line for line in self.files.get(path, ()) if line.startswith(f"{name}:")]
        if not all(map(_ONE_LINE.fullmatch, held)):
            return f"# set {name}: {json.dumps(value)} in {path}"
        line = {"path": path, "regexp": f"^{name}:", "line": f"{name}: {json.dumps(value)}", "create": True}
        return self.here("lineinfile", **line)

    def replaced(self, word: str, meant: str) -> str:
        """Return the command that replaces a word in the inventory's files; a sentence if none contains it."""
        pattern = re.compile(rf"(?<![\w.-]){re.escape(word)}(?![\w.-])")
        found = [path for path, lines in self.files.items() if any(map(pattern.search, lines))]
        if not (found and _PLAIN.fullmatch(word) and _PLAIN.fullmatch(meant)):
            return f"# write {meant} in the place of {word}"
        escaped = word.replace(".", r"\.")
        return shlex.join(
            ["sed", "-i", "-E", f"s#(^|[^A-Za-z0-9_.-]){escaped}([^A-Za-z0-9_.-]|$)#\\1{meant}\\2#g", *found]
        )


def is_key(text: str) -> bool:
    """Return whether a text is an ssh public key of type and body only."""
    return _KEY.fullmatch(text) is not None


def both(*commands: str) -> str:
    """Return the command that runs these in order; if any is a sentence, the first sentence."""
    sentences = [command for command in commands if command.startswith("# ")]
    return sentences[0] if sentences else " && ".join(commands)
