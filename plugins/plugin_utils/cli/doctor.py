"""`altbackup doctor`: checks a set-up, and shows a table of what is wrong with the commands that mend it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..doctor import controller, decide
from ..doctor.encryption import short_sheet
from ..doctor.finding import OK, UNKNOWN, WRONG
from ..mail.settings import MAIL_OPTIONS
from .job import PROGRAM, AnsibleSettings, ansible_settings, find_playbook
from .orders import Order
from .screen import Row, Table, table_of
from .verdict import EXIT_CODES, FAILED, GOOD

if TYPE_CHECKING:
    import argparse

    from .command_context import CommandContext


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--json", action="store_true", help="as JSON, see docs/getting-started.md")
    parser.add_argument("--all", action="store_true", help="what is right, too, and more lines than the screen has")
    parser.add_argument("--commands", action="store_true", help="only the commands that mend, for a shell")
    parser.add_argument(
        "--sheet", action="store_true", help="only the recovery sheet of what is encrypted, to be printed"
    )
    parser.add_argument("--send-mail", action="store_true", help="send a specimen of the mail on failures")


def order(file: str) -> Order:
    """Return the order that plays doctor.yml and writes its findings to a file, to none for ""."""
    return Order("doctor.yml", {"altbackup_list_file": file} if file else {})


def act(context: CommandContext) -> int:
    """Examine all nodes and show the findings; return the exit code."""
    if context.arguments.show:
        return context.show(order(""))
    code, answer, _ = context.ask(order)
    if not isinstance(answer, Mapping):
        return context.tell(code or EXIT_CODES[FAILED], [])
    if context.arguments.sheet:
        return _sheet(str(answer.get("sheet") or ""), context)
    findings = [entry for entry in answer["findings"] if entry["what"] != decide.MAIL]
    findings = decide.ordered([*findings, _mail(answer, context.environment)])
    wrong = decide.is_wrong(findings)
    code = code or EXIT_CODES[FAILED if wrong else GOOD]
    if context.arguments.commands:
        commands = [
            entry["mend"] for entry in findings if entry["state"] == WRONG and not entry["mend"].startswith("# ")
        ]
        print("\n".join(dict.fromkeys(filter(None, commands))), file=context.out)
        return code
    sent = _send_mail() if context.arguments.send_mail else 0
    tables = [
        *shown(findings, context.arguments.all),
        *_at_once(findings, context.job.inventory),
        *_about_sheet(str(answer.get("sheet") or ""), context.job.inventory),
    ]
    return context.tell(code or (EXIT_CODES[FAILED] if sent else 0), tables, findings=findings)


def _about_sheet(text: str, inventory: Sequence[str]) -> list[Table | str]:
    """Return a line with the command that prints the recovery sheet, if there is one."""
    if not text:
        return []
    named = [word for name in inventory for word in ("-i", name)]
    command = shlex.join([PROGRAM, "doctor", "--sheet", *named])
    return [
        f"who loses the keys loses the backups: print the recovery sheet, and keep it elsewhere than the keys: {command}"
    ]


def _sheet(text: str, context: CommandContext) -> int:
    """Print the recovery sheet, and its keys as a QR code where there is what makes one; return the exit code."""
    if not text:
        print("nothing is encrypted (altbackup_encrypt_to), so there is no recovery sheet", file=sys.stderr)
        return EXIT_CODES[FAILED]
    print(text, file=context.out)
    maker = shutil.which("qrencode")
    if maker is None:
        print("for the keys as a QR code, too: install the package qrencode", file=sys.stderr)
        return EXIT_CODES[GOOD]
    made = subprocess.run(
        [maker, "-t", "UTF8", "-o", "-"], input=short_sheet(text), capture_output=True, text=True, check=False
    )
    if made.returncode:
        print(f"the keys are not here as a QR code: {made.stderr.strip() or 'qrencode failed'}", file=sys.stderr)
    print(made.stdout, file=context.out)
    return EXIT_CODES[GOOD]


def _at_once(findings: Sequence[Mapping[str, str]], inventory: Sequence[str]) -> list[Table | str]:
    """Return a line with the command that mends all findings that setup.yml mends, if it is there."""
    mended = [entry for entry in findings if entry["state"] == WRONG and entry["set_up"]]
    if not mended or not find_playbook("setup").is_file():
        return []
    named = [word for name in inventory for word in ("-i", name)]
    verb = "is" if len(mended) == 1 else "are"
    stopped = any(entry["state"] == WRONG and entry["what"] == "inventory" for entry in findings)
    when = ", once the inventory is right" if stopped else ""
    command = shlex.join([PROGRAM, "run", "setup", *named])
    return [f"{len(mended)} of these {verb} what setup.yml mends{when}: {command}"]


def _mail(answer: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the finding on the mail by the settings of this process, as the run that asked the nodes has mail switched off."""
    settings: AnsibleSettings = ansible_settings(environment)
    configured = {name: settings.get("callback_error_mail", name) for name in MAIL_OPTIONS}
    entries: list[dict[str, Any]] = list(answer["scheduled"])
    judged = controller.mail_settings(configured, entries, environment)
    return controller.mail(judged, entries, str(answer["recipients"]), str(settings.path)).plain()


def _send_mail() -> int:
    from .main import send_specimen

    return send_specimen()


def shown(findings: Sequence[Mapping[str, str]], everything: bool) -> list[Table | str]:
    """Return a table of the findings that are not right, or of all, what mends each by its number, and a line with the counts."""
    told = [entry for entry in findings if everything or entry["state"] != OK]
    rows = [
        Row(
            (str(number), entry["state"], entry["pair"] or entry["node"], entry["what"], entry["why"]),
            entry["state"] == WRONG,
        )
        for number, entry in enumerate(told, 1)
    ]
    mends = [
        f"{number:>3}  {entry['mend']}"
        for number, entry in enumerate(told, 1)
        if entry["mend"] and entry["state"] != OK
    ]
    counts = {state: sum(entry["state"] == state for entry in findings) for state in (OK, WRONG, UNKNOWN)}
    last = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    table = [table_of(("", "STATE", "WHERE", "WHAT", "WHY"), rows, right=(0,), wrap_last=True)] if rows else []
    return [*table, *(["what mends it:", *mends] if mends else []), last]
