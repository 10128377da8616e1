# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends one mail on each run that failed: passes Ansible's events to plugin_utils, which makes the text and sends it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: error_mail
type: notification
author: altbackup developers (@altbackup)
version_added: 0.1.0
short_description: Mails what failed in a run, with all that is needed to mend it
description:
  - Sends one mail at the end of a run in which anything failed, or that could do nothing. It names every host that failed, was
    unreachable or did not finish, with the error, task, file and line, the command line, the controller and the user, and the
    command that does what is missing. The log of the run is attached.
  - The first good run after failures sends one short mail, too, which says what had failed and since when.
  - Serves all playbooks, and C(ansible) commands where C(bin_ansible_callbacks) is on.
  - A mail that cannot be sent is kept in a spool, said on stderr, and sent by the next run.
  - Failures that were ignored or rescued are no failures. What V(no_log) hides is not shown, and passwords are masked.
  - No option is refused by Ansible itself, which would switch the mail off with a warning. What is not usable is named at the
    start of a run.
requirements:
  - Enabled by its full name, C(callbacks_enabled = altbackup.core.error_mail).
options:
  to:
    description:
      - Recipients of the mail on every failed run, separated by commas. V(none) means that no mail is wanted.
      - Where it is not set, the environment variable E(MAILTO) is taken, as cron's users expect.
      - Who is named by the variable C(altbackup_mail_to) of a host gets a mail with only what concerns that host.
    type: str
    env: [{name: ALTBACKUP_MAIL_TO}]
    ini: [{section: callback_error_mail, key: to}]
  from:
    description: The sender. By default the user at this machine.
    type: str
    env: [{name: ALTBACKUP_MAIL_FROM}]
    ini: [{section: callback_error_mail, key: from}]
  host:
    description: The SMTP server. Where it is not set, mail is handed over to C(sendmail).
    type: str
    env: [{name: ALTBACKUP_MAIL_HOST}]
    ini: [{section: callback_error_mail, key: host}]
  port:
    description: Its port. By default 25, with O(security=starttls) 587, with O(security=tls) 465.
    type: str
    env: [{name: ALTBACKUP_MAIL_PORT}]
    ini: [{section: callback_error_mail, key: port}]
  security:
    description: V(none), V(starttls) or V(tls). Certificates are verified.
    type: str
    default: none
    env: [{name: ALTBACKUP_MAIL_SECURITY}]
    ini: [{section: callback_error_mail, key: security}]
  username:
    description: The name to log in with, if the server wants one.
    type: str
    env: [{name: ALTBACKUP_MAIL_USERNAME}]
    ini: [{section: callback_error_mail, key: username}]
  password:
    description: The password for that.
    type: str
    env: [{name: ALTBACKUP_MAIL_PASSWORD}]
    ini: [{section: callback_error_mail, key: password}]
  timeout:
    description: Longest time for one whole conversation with the server, in seconds or with a unit.
    type: str
    default: 10s
    env: [{name: ALTBACKUP_MAIL_TIMEOUT}]
    ini: [{section: callback_error_mail, key: timeout}]
  spool:
    description: Folder for mails that could not be sent, one file each, and for the memory of what had failed. Made where missing.
    type: str
    default: ~/.altbackup/spool
    env: [{name: ALTBACKUP_MAIL_SPOOL}]
    ini: [{section: callback_error_mail, key: spool}]
  body_limit:
    description: Characters of the text of a mail. Of longer ones, beginning and end are kept.
    type: str
    default: '65536'
    env: [{name: ALTBACKUP_MAIL_BODY_LIMIT}]
    ini: [{section: callback_error_mail, key: body_limit}]
  log_limit:
    description: Characters of the log, before it is compressed. Of longer ones, beginning and end are kept. 0 means no log.
    type: str
    default: '2097152'
    env: [{name: ALTBACKUP_MAIL_LOG_LIMIT}]
    ini: [{section: callback_error_mail, key: log_limit}]
  ping_url:
    description:
      - The URL of a check of healthchecks.io, or of what speaks as it does. It is pinged when a run begins and how it ended.
      - It is a secret. Who can write a file better than an environment names that, O(ping_url_file).
    type: str
    env: [{name: ALTBACKUP_PING_URL}]
    ini: [{section: callback_error_mail, key: ping_url}]
  ping_url_file:
    description: A file of mode 0600 with that URL, read where O(ping_url) is not set.
    type: str
    env: [{name: ALTBACKUP_PING_URL_FILE}]
    ini: [{section: callback_error_mail, key: ping_url_file}]
  ping_body:
    description: Whether pings carry what the run has to tell, V(yes) or V(no).
    type: str
    default: 'no'
    env: [{name: ALTBACKUP_PING_BODY}]
    ini: [{section: callback_error_mail, key: ping_body}]
  ping_timeout:
    description: Longest time for pings at the beginning, and again at the end, with all attempts, in seconds or with a unit.
    type: str
    default: 10s
    env: [{name: ALTBACKUP_PING_TIMEOUT}]
    ini: [{section: callback_error_mail, key: ping_timeout}]
  ping_playbooks:
    description: The names of the playbooks whose runs are pinged, separated by commas. No run in check mode is.
    type: str
    default: backup.yml
    env: [{name: ALTBACKUP_PING_PLAYBOOKS}]
    ini: [{section: callback_error_mail, key: ping_playbooks}]
  push_url:
    description: The URL of a push monitor of Uptime Kuma, told how a run ended. It is a secret, as O(ping_url) is.
    type: str
    env: [{name: ALTBACKUP_PUSH_URL}]
    ini: [{section: callback_error_mail, key: push_url}]
  push_url_file:
    description: A file of mode 0600 with that URL, read where O(push_url) is not set.
    type: str
    env: [{name: ALTBACKUP_PUSH_URL_FILE}]
    ini: [{section: callback_error_mail, key: push_url_file}]
  channels:
    description:
      - Where else failures and their ends are told, as URLs of apprise, separated by blanks, such as C(ntfys://ntfy.example.org/backups).
      - They are secrets. Needs the library apprise.
    type: str
    env: [{name: ALTBACKUP_CHANNELS}]
    ini: [{section: callback_error_mail, key: channels}]
  channels_file:
    description: A file of mode 0600 with these URLs, read where O(channels) is not set; lines that begin with C(#) are comments.
    type: str
    env: [{name: ALTBACKUP_CHANNELS_FILE}]
    ini: [{section: callback_error_mail, key: channels_file}]
  command:
    description: The command line to show, where a program that runs Ansible was given another one.
    type: str
    env: [{name: ALTBACKUP_MAIL_COMMAND}]
  receipt:
    description:
      - File in which to write, as JSON, what was mailed, for a program that runs Ansible.
      - It is for that program to tell of a run that comes to no end, of which nothing is then mailed from here.
    type: str
    env: [{name: ALTBACKUP_MAIL_RECEIPT}]
"""

import atexit
import functools
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.system.opened import user_name
from ..module_utils.system.pings import FAIL, SUCCESS, Ping
from ..plugin_utils.calls import action  # noqa: F401  loaded once, not in each process that Ansible forks
from ..plugin_utils.mail import channels, child, delivery, memory, pings
from ..plugin_utils.mail.settings import MAIL_OPTIONS, UNHEARD, Settings, addresses, judge
from ..plugin_utils.mail.spool import MAIL, MESSAGE, waiting
from ..plugin_utils.planning.inventory_files import places_of
from ..plugin_utils.report import ansible_events, run_log
from ..plugin_utils.report.collector import Collector
from ..plugin_utils.report.command_line import command_line, mending_command, rerun_command
from ..plugin_utils.report.masking import secrets_in, secrets_of, worth_searching
from ..plugin_utils.report.model import RECORDED, RUN, Failure, Place, Report, redacted, with_places
from ..plugin_utils.report.plain_text import one_line
from ..plugin_utils.report.private_files import write_private
from ..plugin_utils.report.reached_as import host_variable, with_user

_SETTINGS = "altbackup.core.altbackup"


def guarded(method: Callable[..., None]) -> Callable[..., None]:
    """Keep an event handler from raising, which would lose the event and so the mail; the error is reported in the mail."""

    @functools.wraps(method)
    def call(self: CallbackModule, *arguments: Any, **options: Any) -> None:
        try:
            method(self, *arguments, **options)
        except Exception as error:  # noqa: BLE001 # see above
            self.troubled(f"{method.__name__}: {type(error).__name__}: {error}")

    return call


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Collects events during the run, and sends the mail at its end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "altbackup.core.error_mail"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._process = os.getpid()
        self.settings = Settings(wanted=False)
        self._collector = Collector()
        self._log = run_log.RunLog(1)
        self._playbooks: list[str] = []
        self._play: Any = None
        self._gone_before: set[str] | None = None
        self._started = datetime.now().astimezone()
        self._secrets: set[str] = set()
        self._troubles: list[str] = []
        self._flush: subprocess.Popen[bytes] | None = None
        self._messages: subprocess.Popen[bytes] | None = None
        self._over = False
        self._unheard = False
        """Whether it was said that nobody would be told of failures"""
        self._rid = pings.new_rid()
        self._starts: list[Ping] = []
        self._starting: subprocess.Popen[bytes] | None = None

    def set_options(self, task_keys: Any = None, var_options: Any = None, direct: Any = None) -> None:
        """Take the options, usable or not."""
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)
        try:
            self.settings = judge({name: self.get_option(name) for name in MAIL_OPTIONS}, os.environ)
        except Exception as error:  # noqa: BLE001 # Ansible switches off a callback that raises here
            self.troubled(f"options: {error}")
        self._log = run_log.RunLog(self.settings.log_limit)
        self.disabled = not (self.settings.tells or self.settings.ping_url or self.settings.push_url)

    def troubled(self, text: str) -> None:
        """Keep an error of this callback, to be reported in the mail."""
        if len(self._troubles) < 20:
            self._troubles.append(one_line(text))

    @guarded
    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Begin a playbook; with the first one, start to send what earlier runs could not."""
        self._playbooks.append(str(getattr(playbook, "_file_name", "") or ""))
        self._collector.playbook_started([play.get_name() for play in playbook.get_plays()])
        if len(self._playbooks) > 1 or self.disabled:
            return
        atexit.register(self._end)
        supervised = bool(self.get_option("receipt"))
        problems = "" if _says_it_itself(playbook) else "; ".join(self.settings.problems)
        for problem in (*([problems] if problems else ()), *(() if supervised else self.settings.flaws)):
            self._say(problem)
        self._unheard = bool(problems)
        if not supervised and self._is_pinged():  # else the supervising `altbackup run` pings
            self._starts = pings.at_start(self.settings, self._rid)
            self._starting = pings.begin(self._starts, self.settings)
        mails = waiting(self.settings.spool, MAIL) if self.settings.wanted else []
        if mails:
            self._flush = delivery.start(mails, self.settings)
        messages = waiting(self.settings.spool, MESSAGE) if self.settings.channels else []
        if messages:
            self._messages = channels.start(messages, self.settings)

    @guarded
    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Begin a play, or the next batch of one."""
        self._end_play()
        self._play = play
        name = play.get_name().strip()
        self._log.add(run_log.banner("PLAY", name, _clock()))
        hosts = self._hosts()
        self._collector.play_started(
            name, hosts["ansible_play_hosts_all"], hosts["ansible_play_batch"], play.max_fail_percentage is not None
        )

    @guarded
    def v2_playbook_on_no_hosts_matched(self) -> None:
        """Record a play without hosts."""
        pattern = self._play.hosts if self._play else ""
        self._collector.no_hosts(", ".join(map(str, pattern)) if isinstance(pattern, (list, tuple)) else str(pattern))
        self._log.add("skipping: no hosts matched")

    @guarded
    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Log the begin of a task."""
        self._log.add(run_log.banner("TASK", self._place(task, None).title, _clock()))
        # When the failure of a run_once task is reported, all hosts are already out of the play.
        self._gone_before = self._gone() if task.run_once else None

    @guarded
    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Log the begin of a handler."""
        self._log.add(run_log.banner("RUNNING HANDLER", self._place(task, None).title, _clock()))

    @guarded
    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """Record that a task began on a host."""
        self._collector.started()

    @guarded
    def v2_runner_on_ok(self, result: Any) -> None:
        """Record a task that succeeded; a stage's result may hold failures nevertheless."""
        host, place, values = self._read(result)
        self._collector.ok(host, place, values)
        if place.role == _SETTINGS and isinstance(values, Mapping) and str(values.get("msg")).startswith(UNHEARD):
            self._unheard = True
        self._record("changed" if isinstance(values, Mapping) and values.get("changed") else "ok", host, place, values)

    @guarded
    def v2_runner_on_failed(self, result: Any, ignore_errors: bool | None = None) -> None:
        """Record a failed task; only the end of the run tells whether a rescue recovered it."""
        host, place, values = self._read(result)
        self._collector.failed_on(host, place, values, ignored=bool(ignore_errors), gone=self._gone_by_now(place))
        self._record("fatal", host, place, values, "FAILED!" + (" ...ignoring" if ignore_errors else ""))

    @guarded
    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Record an unreachable host, or delegate."""
        host, place, values = self._read(result)
        self._collector.failed_on(host, place, values, unreachable=True, gone=self._gone_by_now(place))
        self._record(
            "fatal", host, place, values, "UNREACHABLE!" + (" ...ignoring" if place.ignore_unreachable else "")
        )

    @guarded
    def v2_runner_retry(self, result: Any) -> None:
        """Log that a task is tried again."""
        host, place, values = self._read(result)
        self._record("FAILED - RETRYING", host, place, values)

    @guarded
    def v2_runner_item_on_ok(self, result: Any) -> None:
        """Record an item of a loop that succeeded."""
        self._item("ok", result)

    @guarded
    def v2_runner_item_on_failed(self, result: Any) -> None:
        """Record an item of a loop that failed; the failure itself comes with the whole loop."""
        self._item("failed", result)

    @guarded
    def v2_runner_item_on_skipped(self, result: Any) -> None:
        """Record a skipped item of a loop."""
        self._item("", result)

    @guarded
    def v2_playbook_on_stats(self, stats: Any) -> None:
        """End a playbook, and the run unless another playbook follows."""
        self._end_play()
        recap = {str(host): stats.summarize(host) for host in sorted(stats.processed)}
        self._log.add(run_log.banner("PLAY RECAP", "", _clock()))
        for host, counts in recap.items():
            self._log.add(f"{host}: {' '.join(f'{name}={count}' for name, count in counts.items())}", host)
        failed = any(counts.get("failures") or counts.get("unreachable") for counts in recap.values())
        expected = context.CLIARGS.get("args")
        last = not isinstance(expected, (list, tuple)) or len(self._playbooks) >= len(expected)
        if last or failed:
            self._end(recap)

    def _end(self, recap: Mapping[str, Mapping[str, int]] | None = None) -> None:
        """Send the mail and messages of the run, once. Without a recap the run was interrupted, and only failures are reported."""
        if self._over or os.getpid() != self._process or self.disabled:
            return
        self._over = True
        try:
            self._finish_flush()
            if recap is None and (self.get_option("receipt") or not self._collector.failed):
                self._ping(recap)
                return
            told = delivery.tell(report := self._report(recap), self.settings)
        except Exception as error:  # noqa: BLE001 # a mail with little in it is better than none
            self.troubled(f"{type(error).__name__}: {error}")
            message = f"the report of the run could not be made: {self._troubles[-1]}"
            report = Report(self._label(), (Failure(socket.gethostname(), message, RUN),), node=socket.gethostname())
            told = delivery.tell(report, self.settings)
        said = delivery.without_nobody(told.problems) if self._unheard else list(told.problems)
        for sentence in said:
            self._say(sentence)
        self._ping(recap)
        receipt = self.get_option("receipt")
        if receipt:
            summary = {"failures": len(report.failures), "mails": told.mails, "delivered": told.delivered}
            more = {"spooled": [str(path) for path in told.spooled], "said": said}
            write_private(receipt, json.dumps({**summary, **more}).encode())

    def _report(self, recap: Mapping[str, Mapping[str, int]] | None) -> Report:
        """Return the report of the run."""
        node = socket.gethostname()
        fields = self._collector.finish(recap or {}, ended=recap is not None)
        inventory = [str(name) for name in context.CLIARGS.get("inventory") or ()]
        found = with_places(fields.pop("failures"), functools.partial(places_of, inventory, Path.cwd()))
        failures = [*found, *delivery.overdue_failure(self.settings, node, time.time())]
        troubles = tuple(f"Something in this mail may be missing: {trouble}" for trouble in self._troubles)
        argv = self._argv()
        failing = [failure.host for failure in failures if failure.kind != RUN]
        titles = [failure.title for failure in failures if failure.kind == RECORDED]
        some = sorted(set(failing)) if recap and set(recap) - set(failing) and not self._is_ad_hoc() else []
        key = self._key()
        hostvars = (
            self._variables().get("hostvars", {}) if failures or memory.hosts_down(self.settings.spool, key) else {}
        )
        nodes = dict.fromkeys(
            [
                *failing,
                *(failure.delegate for failure in failures if failure.delegate),
                *fields["unfinished"],
                *memory.hosts_down(self.settings.spool, key),
            ]
        )
        return Report(
            playbook=self._label(),
            failures=tuple(with_user(failure, hostvars, context.CLIARGS.get("remote_user")) for failure in failures),
            notes=(*fields.pop("notes"), *troubles),
            command=command_line(argv),
            folder=os.getcwd(),
            node=node,
            user=user_name(),
            inventory=tuple(inventory),
            started=self._started,
            ended=datetime.now().astimezone(),
            check=bool(context.CLIARGS.get("check")),
            rerun=rerun_command(argv, os.getcwd(), self._collector.stamp, some),
            mend=mending_command(argv, os.getcwd(), self._label(), titles) if titles else "",
            log=self._log.entries(),
            mail_to={host: _recipients(hostvars, host) for host in nodes},
            secrets=tuple(worth_searching([*secrets_of(argv), *self._secrets, *self.settings.secrets])),
            key=key,
            **fields,
        )

    def _is_pinged(self) -> bool:
        names = [os.path.basename(name) for name in context.CLIARGS.get("args") or ()]
        return pings.is_pinged(self.settings, names, check=bool(context.CLIARGS.get("check")))

    @guarded
    def _ping(self, recap: Mapping[str, Mapping[str, int]] | None) -> None:
        """Ping how the run ended, unless a supervising `altbackup run` does; without a recap it was interrupted."""
        if self.get_option("receipt") or not self._is_pinged():
            return
        report = redacted(self._report(recap))
        signal = FAIL if report.failures or recap is None else SUCCESS
        seconds = (datetime.now().astimezone() - self._started).total_seconds()
        wanted = pings.at_end(self.settings, self._rid, signal, report, seconds)
        lost = pings.finish(self._starting, self._starts, self.settings)
        for sentence in (*lost, *pings.finish(pings.begin(wanted, self.settings), wanted, self.settings)):
            self._say(sentence)

    def _finish_flush(self) -> None:
        """Wait for the processes that send what earlier runs could not, at most until their time is over."""
        for process in (self._flush, self._messages):
            if process:
                left = self.settings.timeout - (datetime.now().astimezone() - self._started).total_seconds()
                child.end(process, max(left, 0))

    def _read(self, result: Any) -> tuple[str, Place, Any]:
        """Return (host, task, values) of an event's result, and collect secrets from the task's arguments."""
        task, values = ansible_events.task_of(result), ansible_events.values_of(result)
        self._secrets.update(secrets_in(task.args))
        return ansible_events.host_of(result), self._place(task, values), values

    def _place(self, task: Any, values: Any) -> Place:
        return ansible_events.place_of(task, values, self._play.get_name().strip() if self._play else "")

    def _item(self, status: str, result: Any) -> None:
        host, place, values = self._read(result)
        self._collector.item(host, place)
        if status and isinstance(values, Mapping):
            label = run_log.item_label(values) or "?"
            self._log.add(run_log.entry(status, host, values, label=label, full=status == "failed"), host)

    def _record(self, status: str, host: str, place: Place, values: Any, more: str = "") -> None:
        """Log how a task ended; the items of a loop are in the log already."""
        where = f"{host} -> {place.delegate}" if place.delegate not in ("", host) else host
        loop = isinstance(values, Mapping) and "results" in values
        shown = {"msg": values.get("msg")} if loop else values
        self._log.add(run_log.entry(status, where, shown, more=more, full=status == "fatal"), host)

    def _gone(self) -> set[str]:
        """Return the hosts that are out of the current play."""
        hosts = self._hosts()
        return set(hosts["ansible_play_hosts_all"]) - set(hosts["ansible_play_hosts"])

    def _gone_by_now(self, place: Place) -> set[str]:
        """Return the hosts that were out of the play before a failure."""
        return self._gone_before if place.run_once and self._gone_before is not None else self._gone()

    def _end_play(self) -> None:
        if self._play is not None:
            self._collector.play_ended(self._gone())

    def _hosts(self) -> dict[str, list[str]]:
        """Return the hosts of the current play by Ansible's variables: all, those still in it, those of this batch."""
        variables = self._variables(include_hostvars=False)
        names = ("ansible_play_hosts_all", "ansible_play_hosts", "ansible_play_batch")
        return {name: [str(host) for host in variables.get(name) or ()] for name in names}

    def _variables(self, **options: Any) -> Mapping[str, Any]:
        if self._play is None:
            return {}
        variables: Mapping[str, Any] = self._play.get_variable_manager().get_vars(play=self._play, **options)
        return variables

    def _argv(self) -> list[str]:
        command = self.get_option("command")
        return shlex.split(command) if command else list(sys.argv)

    def _is_ad_hoc(self) -> bool:
        return self._playbooks == ["__adhoc_playbook__"]

    def _label(self) -> str:
        if self._is_ad_hoc():
            return f"ansible -m {context.CLIARGS.get('module_name')}"
        return " ".join(os.path.basename(name) for name in self._playbooks) or "ansible"

    def _key(self) -> str:
        """Return the key that makes runs the same job: playbooks, inventory, limit, tags and mode; "" for ad hoc commands."""
        if self._is_ad_hoc():
            return ""
        options = {name: context.CLIARGS.get(name) for name in ("subset", "tags", "skip_tags", "check")}
        return memory.job_key(self._playbooks, map(str, context.CLIARGS.get("inventory") or ()), **options)

    def _say(self, sentence: str) -> None:
        self._display.warning(f"altbackup mail: {sentence}")


def _says_it_itself(playbook: Any) -> bool:
    """Return whether a playbook has the role that says so if nobody would be told of failures."""
    return any(
        role.get_name() == _SETTINGS for play in playbook.get_plays() for role in getattr(play, "get_roles", list)()
    )


def _clock() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")


def _recipients(hostvars: Any, host: str) -> tuple[str, ...]:
    return tuple(addresses(host_variable(hostvars, host, "altbackup_mail_to"))[0])
