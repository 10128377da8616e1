"""The lab on the command line: up, down, status, reap, and actions on a host."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import registry
from .errors import LabError
from .inventory import write_inventory
from .lab import Lab
from .state import attach, is_running, save

DEEDS = ("cut", "restore", "stop_sshd", "start_sshd")


def pairs(words: list[str]) -> dict[str, str]:
    """Return words `name=value` as a mapping. Raise LabError."""
    bad = [word for word in words if "=" not in word]
    if bad:
        raise LabError(f"expected name=value: {', '.join(bad)}")
    return dict(word.split("=", 1) for word in words)


def up(arguments: argparse.Namespace) -> int:
    """Start a lab that outlives this command."""
    state: Path = arguments.state.absolute()
    if state.exists() and is_running(attach(state)):
        raise LabError(f"the lab of {state} is already up")
    state.parent.mkdir(parents=True, exist_ok=True)
    names = arguments.hosts.split(",")
    sources = list(filter(None, arguments.sources.split(",")))
    folder = (arguments.folder or state.parent).absolute()
    lab = Lab(names, folder, sources=sources, pythons=pairs(arguments.python), detached=True).start()
    try:
        save(lab, state)
        if arguments.inventory:
            groups = {name: members.split(",") for name, members in pairs(arguments.group).items()}
            write_inventory(lab, arguments.inventory.absolute(), groups=groups)
    except BaseException:
        lab.close()
        raise
    print(f"lab {lab.id}: {len(names)} hosts up in {lab.seconds_up:.2f} s, {state}")
    return 0


def down(arguments: argparse.Namespace) -> int:
    """End the lab of a state file, if there is one, and remove the file."""
    if arguments.state.exists():
        lab = attach(arguments.state)
        lab.close()
        arguments.state.unlink()
        print(f"lab {lab.id}: down")
    return 0


def status(arguments: argparse.Namespace) -> int:
    """Show the hosts of a lab; the exit code is 0 if all of them answer, else 3."""
    if not arguments.state.exists():
        print("no lab")
        return 3
    lab = attach(arguments.state)
    answers = {name: is_running(lab) and host.answers() for name, host in lab.hosts.items()}
    for name, host in lab.hosts.items():
        print(f"{name} {host.address}:{host.port} {'answers' if answers[name] else 'silent'} {host.data}")
    return 0 if all(answers.values()) else 3


def reap(_: argparse.Namespace) -> int:
    """End the labs whose owner is dead."""
    for lab in registry.reap():
        print(f"lab {lab}: reaped")
    return 0


def execute(arguments: argparse.Namespace) -> int:
    """Run a command on a host, not over ssh."""
    process = attach(arguments.state)[arguments.host].popen(
        arguments.argv, stdin=sys.stdin, stdout=sys.stdout, stderr=sys.stderr
    )
    return process.wait()


def do(arguments: argparse.Namespace) -> int:
    """Change the link or the sshd of a host."""
    getattr(attach(arguments.state)[arguments.host], arguments.verb.replace("-", "_"))()
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    main_parser = argparse.ArgumentParser(prog="lab", description=__doc__)
    verbs = main_parser.add_subparsers(dest="verb", required=True)
    for name, function in (("up", up), ("down", down), ("status", status), ("exec", execute)):
        verb = verbs.add_parser(name, help=function.__doc__)
        verb.add_argument("--state", type=Path, required=True, help="file that describes the running lab")
        verb.set_defaults(function=function)
    verbs.choices["exec"].add_argument("host")
    verbs.choices["exec"].add_argument("argv", nargs="+")
    starter = verbs.choices["up"]
    starter.add_argument("--hosts", required=True, help="names, separated by commas")
    starter.add_argument("--sources", default="", help="hosts with an ssh key of their own")
    starter.add_argument("--python", action="append", default=[], metavar="HOST=VERSION")
    starter.add_argument("--folder", type=Path, help="where the lab's folder goes (default: beside the state file)")
    starter.add_argument("--inventory", type=Path, help="write an Ansible inventory into this folder")
    starter.add_argument("--group", action="append", default=[], metavar="GROUP=HOST,HOST")
    verbs.add_parser("reap", help=reap.__doc__).set_defaults(function=reap)
    for deed in DEEDS:
        verb = verbs.add_parser(deed.replace("_", "-"))
        verb.add_argument("--state", type=Path, required=True)
        verb.add_argument("host")
        verb.set_defaults(function=do)
    return main_parser


def main() -> int:
    """Run the command line; return the exit code."""
    arguments = parser().parse_args()
    try:
        return int(arguments.function(arguments))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
