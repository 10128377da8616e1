"""`altbackup init`: writes a first inventory from a few answers and from what the sources hold."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...module_utils.stages.survey import FOLDERS, USUAL
from ...module_utils.stages.survey_servers import SERVERS
from ...module_utils.system.errors import InvalidInput
from ...module_utils.system.visible import visible
from ..doctor.facts import surveyed_facts
from ..mail.settings import addresses
from ..planning.mailing import NONE
from ..planning.setting_values import parse_base
from . import command_context, doctor
from .inventory_servers import servers_in
from .inventory_text import LOCAL, Answers, Host, files, parse_host
from .orders import Order
from .supervised_run import say
from .verdict import EXIT_CODES, FAILED, GOOD, INTERRUPTED

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
_HERE = ("localhost", "127.0.0.1", "::1")
_SHARED = ("/var/backups/altbackup/source", "/var/backups/altbackup/target")
_HOSTS = "Which machines? Enter: this one is source and target. Else sources -> targets, like: scm@dayabay scm@lingao -> scm@cms01: "
_MAIL = "Who gets mail on failures? Addresses, or none: "
_ROOT = "May copies lie on the root file system there? No if they have a disk of their own. [y/N]: "
_BECOME = "Do they become root there, by sudo without a password? [y/N]: "


def add(known: Any) -> None:
    """Add the command to the program's subparsers."""
    parser = known.add_parser(
        "init",
        help="write a first inventory",
        description="Write a first inventory: asks on a terminal what options do not say, looks on the sources for what could be backed up, "
        "writes INVENTORY, and shows what is still to be done (doctor). It replaces nothing, and makes no folder of backups.",
        epilog="A HOST is [NAME=][USER@]ADDRESS[:PORT]; localhost is this machine, without ssh. The exit code is 0 if the inventory was written and "
        "every host answered, 2 if it was written and one did not.",
        allow_abbrev=False,
    )
    option = parser.add_argument
    option("name", metavar="INVENTORY", help="the folder that is made: a path, or a name below inventory/ here")
    option("--source", action="append", metavar="HOST", default=[], help="holds live data (default: this machine)")
    option("--target", action="append", metavar="HOST", default=[], help="receives copies (default: this machine)")
    option("--user", default="", help="as whom hosts are logged in to, where a HOST does not say")
    option("--become", action="store_true", help="become root there, by sudo without a password")
    option("--base", metavar="PATH", default="", help="where a source has its tarballs")
    option("--target-base", metavar="PATH", default="", help="where a target has its copies")
    option("--allow-root-filesystem", action="store_true", help="bases may lie on the root file system")
    option("--look", action="append", metavar="PATH", default=[], help="look for repositories below it, too")
    option(
        "--folder", action="append", metavar="PATH", default=[], help="a folder to be backed up where it is there, too"
    )
    option("--mail", metavar="ADDRESSES", default="", help="who gets mail on failures, or none")
    option("--yes", action="store_true", help="ask nothing")
    option("--no-doctor", action="store_true", help="do not show what is still to be done")
    option("--artifacts", metavar="DIR", default="", help="where runs are kept, as for run")
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Ask, survey the sources, write the inventory and show what is still to be done; return the exit code."""
    try:
        place = _place(arguments.name)
        answers = _answers(arguments, place.name)
        with _making(place) as new:
            _write(new, answers)
            found, silent = _looked_for(arguments, new, answers)
            answers = replace(answers, found=found)
            shutil.rmtree(new)
            _write(new, answers)
        say(f"{place} was written:")
        for name in sorted(files(answers)):
            print(visible(f"  {place / name}"))
    except InvalidInput as error:
        say(str(error))
        return command_context.NOTHING_DONE
    except KeyboardInterrupt:
        return EXIT_CODES[INTERRUPTED]
    if not arguments.no_doctor:
        doctor.act(_context_of(arguments, place, "doctor"))
    if silent:
        say(
            f"{', '.join(silent)} could not be looked at, as said above. Correct that, remove what was written (rm -r {shlex.quote(str(place))}), and run init "
            "again; or correct it in these files, and name there what is to be backed up"
        )
    return EXIT_CODES[FAILED if silent else GOOD]


def _place(name: str) -> Path:
    """Return the absolute path of the inventory's folder. Raise InvalidInput if the name is unusable or taken."""
    place = Path(name).absolute() if "/" in name else Path.cwd() / "inventory" / name
    last = os.path.basename(name.rstrip("/"))
    if not _NAME.fullmatch(last):
        raise InvalidInput(f"{last!r} is no name for an inventory: write letters, digits, dots and dashes, like mine")
    if os.path.lexists(place):
        raise InvalidInput(f"{place} is there already, and nothing is replaced: choose another name, or remove it")
    return place


def _answers(arguments: argparse.Namespace, name: str) -> Answers:
    """Return the answers that options give, asking for the others on a terminal. Raise InvalidInput."""
    asking = sys.stdin.isatty() and sys.stdout.isatty() and not arguments.yes
    sources, targets, become = list(arguments.source), list(arguments.target), arguments.become
    allow_root = arguments.allow_root_filesystem
    if not (sources or targets) and asking:
        sources, targets = _split(_asked(_HOSTS))
        is_remote = any(text != LOCAL for text in [*sources, *targets])
        become = become or (is_remote and _is_yes(_BECOME))
        allow_root = allow_root or not is_remote or _is_yes(_ROOT)
    mail = arguments.mail or (_asked(_MAIL) if asking else "")
    if not mail:
        raise InvalidInput("nobody is named who gets mail on failures: --mail ADDRESS, or --mail none")
    give, take = (
        [parse_host(text, arguments.user, become) for text in texts or [LOCAL]] for texts in (sources, targets)
    )
    _require_one_way([*give, *take])
    own = os.path.expanduser("~/altbackup")
    unprivileged = os.geteuid() != 0 and all(host.is_local for host in [*give, *take])
    proposed = (f"{own}/source", f"{own}/target") if unprivileged else _SHARED
    return Answers(
        name,
        give,
        take,
        parse_base(arguments.base or proposed[0]),
        parse_base(arguments.target_base or proposed[1]),
        _recipients(mail),
        allow_root,
        mail_server=_server_elsewhere(os.environ),
    )


def _server_elsewhere(environment: Mapping[str, str]) -> dict[str, str]:
    """Return host, port and security of the mail server that this shell names, {} if targets cannot use it: on this machine alone, or with a login."""
    given = {
        name: environment.get(f"ALTBACKUP_MAIL_{name.upper()}", "").strip() for name in ("host", "port", "security")
    }
    if not given["host"] or given["host"] in _HERE or environment.get("ALTBACKUP_MAIL_USERNAME"):
        return {}
    return {name: text for name, text in given.items() if text}


def _require_one_way(hosts: Sequence[Host]) -> None:
    known: dict[str, Host] = {}
    for host in hosts:
        if known.setdefault(host.name, host) != host:
            raise InvalidInput(f"{host.name} is named twice, in two ways: write it the same as source and as target")


def _split(text: str) -> tuple[list[str], list[str]]:
    """Return (sources, targets) of `SOURCES -> TARGETS`, empty lists for "". Raise InvalidInput."""
    sources, arrow, targets = text.partition("->")
    if text and not (arrow and sources.strip() and targets.strip()):
        raise InvalidInput("which of them receive copies? Write sources -> targets, like: scm@dayabay -> scm@cms01")
    return sources.split(), targets.split()


def _recipients(text: str) -> str:
    if text.lower() == NONE:
        return NONE
    good, bad = addresses(text)
    if bad or not good:
        raise InvalidInput(f"{', '.join(bad) or text!r} is no mail address; none is for nobody")
    return ", ".join(good)


def _is_yes(question: str) -> bool:
    return _asked(question).lower() in ("y", "yes")


def _asked(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:
        return ""


@contextlib.contextmanager
def _making(place: Path) -> Iterator[Path]:
    """Yield the path of a temporary folder beside `place`, renamed to it at the end. Raise InvalidInput if it is taken by then."""
    new = place.with_name(f".{place.name}.new-{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        yield new
        # Beyond this check, rename replaces an empty folder only, so that nothing is lost.
        if os.path.lexists(place):
            raise InvalidInput(f"{place} came into being meanwhile, and nothing is replaced")
        os.rename(new, place)
    except OSError as error:
        raise InvalidInput(f"{place} cannot be made: {error.strerror or error}") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _write(folder: Path, answers: Answers) -> None:
    for name, text in files(answers).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _context_of(arguments: argparse.Namespace, inventory: Path, command: str) -> command_context.CommandContext:
    """Return the context of a question on an inventory."""
    options = argparse.ArgumentParser(add_help=False)
    doctor.add_options(options)
    given = {"inventory": [str(inventory)], "show": False, "time_limit": "1h", "artifacts": arguments.artifacts}
    return command_context.CommandContext(
        argparse.Namespace(command=command, **{**vars(options.parse_args([])), **given})
    )


def _looked_for(
    arguments: argparse.Namespace, inventory: Path, answers: Answers
) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """Survey the sources for what could be backed up, and ask targets whether they answer; return {source: facts} and the hosts that did not answer."""
    below = [parse_base(path) for path in arguments.look]
    folders = [parse_base(path) for path in arguments.folder]
    say(f"looking for repositories and databases on {', '.join(_called(host) for host in answers.sources)} ...")
    wanted = {"__survey_below": [*below, *USUAL], "__survey_folders": [*folders, *FOLDERS], "__survey_servers": SERVERS}
    _, answer, _ = _context_of(arguments, inventory, "init").ask(
        lambda file: Order("survey.yml", {**wanted, "__survey_file": file})
    )
    found: dict[str, Mapping[str, Any]] = {}
    silent = []
    for host in answers.hosts:
        if host.name not in [source.name for source in answers.sources]:
            result = (answer or {}).get(host.name) or {}
            if result.get("ping") != "pong":
                say(f"{host.name} did not answer: {_why(result, 'it said nothing')}")
                silent.append(host.name)
    for host in answers.sources:
        result = (answer or {}).get(host.name) or {}
        facts = surveyed_facts(result.get("facts"))
        if facts is None:
            default = "what it said is no answer" if result.get("facts") else "it did not answer"
            say(f"{host.name} could not be looked at: {_why(result, default)}")
            silent.append(host.name)
            continue
        is_root = facts["uid"] == 0
        kept = [path for path in facts["folders"] if path in folders or is_root]
        unseen = (
            f"; {len(facts['unseen'])} folders could not be seen, such as {facts['unseen'][0]}"
            if facts["unseen"]
            else ""
        )
        if facts["cut"]:
            say(
                f"{host.name}: there are more folders than are looked at: look at what was written, and name the rest (--look)"
            )
        servers = servers_in(result["facts"])
        say(
            f"{host.name}: repositories: {len(facts['repositories'])}, folders: {len(kept)}, servers of databases: {len(servers)}{unseen}"
        )
        found[host.name] = {**facts, "folders": kept, "servers": servers}
    return found, silent


def _why(result: Mapping[str, Any], default: str) -> str:
    """Return why a host did not answer, on one line."""
    return " ".join(str(result.get("msg") or default).split())[:500]


def _called(host: Host) -> str:
    return socket.gethostname() if host.is_local else host.name
