"""`altbackup doctor`: what is right and what is not with a set-up, as a table with the commands that mend it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..doctor import controller, decide
from ..doctor.finding import OK, UNKNOWN, WRONG
from ..mail.settings import MAIL_OPTIONS
from .job import AnsibleSettings, ansible_settings
from .orders import Order
from .screen import Row, Table, table_of
from .verdict import EXIT_CODES, FAILED, GOOD

if TYPE_CHECKING:
    import argparse

    from .commands import Desk


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command alone."""
    parser.add_argument("--json", action="store_true", help="as JSON, see docs/getting-started.md")
    parser.add_argument("--all", action="store_true", help="what is right, too, and more lines than the screen has")
    parser.add_argument("--send-mail", action="store_true", help="send a specimen of the mail on failures")


def order(file: str) -> Order:
    """Return what is played, its findings written to a file."""
    return Order("doctor.yml", {"altbackup_list_file": file} if file else {})


def act(desk: Desk) -> int:
    """Ask all nodes, judge, and show what was found; return the exit code."""
    if desk.arguments.show:
        return desk.show(order(""))
    code, answer, _ = desk.ask(order)
    if not isinstance(answer, Mapping):
        return desk.tell(code or EXIT_CODES[FAILED], [])
    findings = [entry for entry in answer["findings"] if entry["what"] != decide.MAIL]
    findings = decide.ordered([*findings, _mail(answer, desk.environment)])
    wrong = decide.is_wrong(findings)
    code = code or EXIT_CODES[FAILED if wrong else GOOD]
    sent = _send_mail() if desk.arguments.send_mail else 0
    return desk.tell(
        code or (EXIT_CODES[FAILED] if sent else 0), shown(findings, desk.arguments.all), findings=findings
    )


def _mail(answer: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """Judge the mail by what is set here: the run that asked the nodes mails nobody."""
    settings: AnsibleSettings = ansible_settings(environment)
    configured = {name: settings.get("callback_error_mail", name) for name in MAIL_OPTIONS}
    entries: list[dict[str, Any]] = list(answer["scheduled"])
    judged = controller.mail_settings(configured, entries, environment)
    return controller.mail(judged, bool(entries), str(answer["recipients"]), str(settings.path)).plain()


def _send_mail() -> int:
    from .main import send_specimen

    return send_specimen()


def shown(findings: Sequence[Mapping[str, str]], everything: bool) -> list[Table | str]:
    """Given findings, return the table of those that are not right, or of all, each with what mends it, and a line on the rest."""
    rows = [
        Row(
            (entry["state"], entry["pair"] or entry["node"], entry["what"], entry["why"]),
            entry["state"] == WRONG,
            [entry["mend"]] if entry["mend"] and entry["state"] != OK else (),
        )
        for entry in findings
        if everything or entry["state"] != OK
    ]
    counts = {state: sum(entry["state"] == state for entry in findings) for state in (OK, WRONG, UNKNOWN)}
    last = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return [*([table_of(("state", "where", "what", "why"), rows)] if rows else []), last]
