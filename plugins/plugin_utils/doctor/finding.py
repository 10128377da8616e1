"""A finding of the doctor, and the commands that mend what is wrong. Pure."""

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
"""A variable whose value stands on its line"""
_TEMPLATE = re.compile(r"\{[{%#]")
"""What Ansible would evaluate on the controller, be it a node that said it"""
_KEY = re.compile(r"[\w@.-]{1,64} [A-Za-z0-9+/=]{16,4096}", re.ASCII)
_PLAIN = re.compile(r"[\w./:@%+,-]+", re.ASCII)


@dataclass(frozen=True)
class Finding:
    """What was looked at somewhere, how that is, and what mends it."""

    node: str
    what: str
    state: str = OK
    why: str = ""
    mend: str = ""
    """A command for a shell on the controller, or a sentence that begins with `# ` where no command can know what is meant"""
    pair: str = ""
    """`source -> target`, where it is about that"""

    def plain(self) -> dict[str, str]:
        """Return it as others read it."""
        texts = {"node": self.node, "pair": self.pair, "what": self.what, "state": self.state}
        return {name: one_line(text) for name, text in {**texts, "why": mask_text(self.why), "mend": self.mend}.items()}


@dataclass(frozen=True)
class Commands:
    """What commands are written with."""

    inventory: Sequence[str] = ()
    """As ansible is told of them"""
    ansible: str = "ansible"
    program: str = "altbackup"
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """{file of the inventory: its lines}"""
    has_setup: bool = False
    """Whether there is a playbook that sets up what is missing"""

    @property
    def named(self) -> list[str]:
        return [word for name in self.inventory for word in ("-i", name)]

    def on(self, node: str, module: str, become: bool = False, extra: Sequence[str] = (), **arguments: Any) -> str:
        """Return the command that calls a module of Ansible's on a node; a sentence where a template would be in it."""
        if _TEMPLATE.search(json.dumps(arguments)):
            return f"# {module} on {node}, by hand: a name there looks like a template, which Ansible would evaluate"
        return self.on_by_template(node, module, become, extra, **arguments)

    def on_by_template(
        self, node: str, module: str, become: bool = False, extra: Sequence[str] = (), **arguments: Any
    ) -> str:
        """Return the same for arguments of which one is a template of this collection's own."""
        simple = all(isinstance(value, str) and _PLAIN.fullmatch(value) for value in arguments.values())
        given = " ".join(f"{name}={value}" for name, value in arguments.items()) if simple else json.dumps(arguments)
        words = [self.ansible, node, *self.named, *(["--become"] if become else []), *extra]
        return shlex.join([*words, "-m", f"ansible.builtin.{module}", "-a", given])

    def run_on(self, node: str, argv: Sequence[str], become: bool = False) -> str:
        """Return the command that runs a command on a node."""
        return self.on(node, "command", become, argv=list(argv))

    def own(self, *words: str) -> str:
        """Return a command of this collection's program."""
        return shlex.join([self.program, *words, *self.named])

    def set_up(self, node: str) -> str:
        """Return the command that sets a node up, empty where there is none."""
        return self.own("run", "setup", "--limit", node) if self.has_setup else ""

    def setting(self, node: str, name: str, value: Any) -> str:
        """Return the command that sets a variable of a host in the inventory; a sentence where that is no folder."""
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
        return shlex.join([self.ansible, "localhost", "-m", "ansible.builtin.lineinfile", "-a", json.dumps(line)])

    def replaced(self, word: str, meant: str) -> str:
        """Return the command that writes another word in the files of the inventory that have one; a sentence where none has it."""
        pattern = re.compile(rf"(?<![\w.-]){re.escape(word)}(?![\w.-])")
        found = [path for path, lines in self.files.items() if any(map(pattern.search, lines))]
        if not (found and _PLAIN.fullmatch(word) and _PLAIN.fullmatch(meant)):
            return f"# write {meant} in the place of {word}"
        escaped = word.replace(".", r"\.")
        return shlex.join(
            ["sed", "-i", "-E", f"s#(^|[^A-Za-z0-9_.-]){escaped}([^A-Za-z0-9_.-]|$)#\\1{meant}\\2#g", *found]
        )


def is_key(text: str) -> bool:
    """Return whether a text is a public key of ssh, its type and its body, and nothing more."""
    return _KEY.fullmatch(text) is not None


def both(*commands: str) -> str:
    """Given commands that are to be run one after the other, return the one that does it; of sentences, the first."""
    sentences = [command for command in commands if command.startswith("# ")]
    return sentences[0] if sentences else " && ".join(commands)
