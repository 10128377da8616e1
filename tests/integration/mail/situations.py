"""Ways in which a run fails, each a tiny playbook, with the expected content of the mail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

SECRETS = {
    "task": "mango-tangerine",
    "loop": "kiwi-clementine",
    "play": "papaya-satsuma",
    "block": "guava-pomelo",
    "parameter": "lychee-kumquat",
    "extra": "quince-bergamot",
    "json": "durian-calamondin",
    "environment": "loquat-citron",
    "vault": "medlar-yuzu",
    "argument": "feijoa-tangelo",
    "key": "c2VjcmV0IGtleSBtYXRlcmlhbA",
}
"""One secret for each way into a run; none may occur in a mail, a log or the spool"""
S = SECRETS

FAILS = "ansible.builtin.command: sh -c 'echo out; echo broken pipe of {who} >&2; exit 7'"
LOCAL_HOSTS = ("alpha", "beta", "gamma", "delta")


@dataclass(frozen=True)
class Situation:
    """A run, and what is expected of it."""

    name: str
    playbook: str
    exit_code: int = 2
    hosts: tuple[str, ...] = ("alpha",)
    """Hosts that the mail names as failed or unfinished; none: no mail"""
    words: tuple[str, ...] = ()
    """Texts that the mail must contain"""
    absent: tuple[str, ...] = ()
    """Texts that it must not contain"""
    subject: str = ""
    arguments: tuple[str, ...] = ()
    variables: dict[str, Any] = field(default_factory=dict)
    """Further variables of all hosts"""
    program: str = "ansible-playbook"


def play(tasks: str, hosts: str = "alpha", more: str = "") -> str:
    """Return a playbook of one play; tasks and other keys are indented as in a play."""
    return f"- name: Play\n  hosts: {hosts}\n  gather_facts: false\n{more}  tasks:\n{tasks}"


def command(who: str, name: str = "Break it") -> str:
    """Return a task that fails with the text `broken pipe of WHO`."""
    return f"    - name: {name}\n      {FAILS.format(who=who)}\n"


def fails(name: str, tasks: str, *words: str, hosts: Sequence[str] = ("alpha",), **more: Any) -> Situation:
    """Return a situation of one play."""
    on = more.pop("on", "alpha")
    settings = more.pop("settings", "")
    return Situation(name, play(tasks, on, settings), hosts=tuple(hosts), words=words, **more)


PING = "    - ansible.builtin.ping:\n"
DEBUG = "    - ansible.builtin.debug: {msg: fine}\n"
BEGIN, END = "-----BEGIN X PRIVATE KEY-----", "-----END X PRIVATE KEY-----"
ALL = "alpha:beta:gamma"
BROKEN = "broken pipe of one"
REFUSED = "Connection refused|Broken pipe"

SITUATIONS = (
    fails("plain failure", DEBUG + command("one"), BROKEN, "(rc 7)", "Break it", "play.yml:6", "1 task, the last"),
    fails(
        "two hosts, two errors",
        command("{{ inventory_hostname }}"),
        "broken pipe of alpha",
        "broken pipe of beta",
        hosts=("alpha", "beta"),
        on="alpha:beta",
    ),
    fails("one error on many hosts", command("one"), BROKEN, "3 hosts", hosts=("alpha", "beta", "gamma"), on=ALL),
    fails("ignored", command("one") + "      ignore_errors: true\n", hosts=(), exit_code=0),
    fails(
        "rescued",
        "    - block:\n      - ansible.builtin.command: 'false'\n      rescue:\n      - ansible.builtin.debug: {msg: mended}\n",
        hosts=(),
        exit_code=0,
    ),
    fails(
        "rescue fails again",
        "    - block:\n      - ansible.builtin.fail: {msg: the first}\n      rescue:\n"
        "      - ansible.builtin.fail: {msg: the second}\n",
        "the second",
        absent=("the first",),
    ),
    fails(
        "rescued, then a real failure",
        "    - block:\n      - ansible.builtin.fail: {msg: the first}\n      rescue:\n"
        "      - ansible.builtin.debug: {msg: mended}\n" + command("one"),
        BROKEN,
        absent=("the first",),
    ),
    fails(
        "block and its always fail",
        "    - block:\n      - ansible.builtin.fail: {msg: the first}\n      always:\n"
        "      - ansible.builtin.fail: {msg: the second}\n",
        "the first",
        "the second",
    ),
    fails(
        "loop",
        "    - name: Loop\n      ansible.builtin.command: sh -c 'echo item-{{ item }} >&2; exit {{ item }}'\n      loop: [0, 3, 4]\n",
        "2 of 3 items failed",
        "item-3",
        "item-4",
        absent=("item-0",),
    ),
    fails(
        "loop with a variable and label of its own",
        "    - ansible.builtin.fail: {msg: 'no {{ fruit.name }}'}\n"
        "      when: fruit.bad\n      loop: [{name: apple, bad: true}, {name: pear, bad: false}]\n"
        "      loop_control: {loop_var: fruit, label: 'fruit {{ fruit.name }}'}\n",
        "item fruit apple: no apple",
        absent=("pear",),
    ),
    fails(
        "retries",
        "    - ansible.builtin.command: sh -c 'echo never >&2; exit 1'\n      retries: 2\n      delay: 0\n"
        "      register: tried\n      until: tried is success\n",
        "after 2 attempts",
        "never",
    ),
    fails("unreachable host", PING, REFUSED, hosts=("gone",), on="gone", exit_code=4),
    fails(
        "one unreachable, one failed",
        command("one"),
        REFUSED,
        BROKEN,
        hosts=("alpha", "gone"),
        on="alpha:gone",
        exit_code=4,
    ),
    fails(
        "ignored unreachable",
        "    - ansible.builtin.ping:\n      ignore_unreachable: true\n",
        hosts=(),
        on="gone",
        exit_code=0,
    ),
    fails(
        "unreachable delegate",
        "    - ansible.builtin.ping:\n      delegate_to: gone\n",
        REFUSED,
        "alpha -> gone",
        exit_code=4,
    ),
    fails("failing delegate", command("one") + "      delegate_to: beta\n", BROKEN, "alpha -> beta"),
    fails(
        "loop over delegates, one unreachable",
        "    - ansible.builtin.ping:\n      delegate_to: '{{ place }}'\n      loop: [beta, gone]\n"
        "      loop_control: {loop_var: place}\n",
        "alpha -> gone",
        REFUSED,
        exit_code=4,
    ),
    fails(
        "loop over delegates, one unreachable, one failed",
        "    - ansible.builtin.command: \"{{ 'false' if item.node == 'beta' else 'true' }}\"\n"
        "      delegate_to: '{{ item.node }}'\n      loop: [{node: beta}, {node: gamma}, {node: gone}]\n",
        "alpha -> beta",
        "alpha -> gone",
        REFUSED,
        absent=("-> gamma",),
    ),
    fails(
        "stage module that notes its failures",
        "    - name: Read it\n      altbackup.core.dna_verify: {base: /nowhere/at/all, fail: false}\n",
        "/nowhere/at/all",
        "Read it",
        exit_code=0,
    ),
    fails("stage module that fails", "    - altbackup.core.dna_verify: {base: /nowhere/at/all}\n", "/nowhere/at/all"),
    fails(
        "asynchronous task",
        "    - ansible.builtin.command: sh -c 'echo late >&2; exit 3'\n      async: 20\n      poll: 1\n",
        "late",
        "rc 3",
    ),
    fails("task timeout", "    - ansible.builtin.command: sleep 20\n      timeout: 1\n", "imed out|time frame"),
    fails(
        "handler",
        "    - ansible.builtin.debug: {msg: x}\n      changed_when: true\n      notify: Fix it\n",
        BROKEN,
        'handler: "Fix it"',
        settings="  handlers:\n" + command("one", "Fix it"),
    ),
    fails(
        "missing include", "    - name: Look\n      ansible.builtin.include_tasks: nowhere.yml\n", "nowhere.yml", "Look"
    ),
    fails(
        "missing include on two hosts",
        "    - ansible.builtin.include_tasks: nowhere.yml\n",
        "2 hosts|beta",
        hosts=("alpha", "beta"),
        on="alpha:beta",
    ),
    fails(
        "any_errors_fatal",
        "    - ansible.builtin.fail: {msg: stop all}\n      when: inventory_hostname == 'alpha'\n" + DEBUG,
        "stop all",
        "Did not finish",
        hosts=("alpha", "beta", "gamma"),
        on=ALL,
        settings="  any_errors_fatal: true\n",
    ),
    fails(
        "max_fail_percentage and serial",
        "    - ansible.builtin.fail: {msg: stop all}\n      when: inventory_hostname == 'alpha'\n" + DEBUG,
        "stop all",
        "Did not finish",
        hosts=("alpha", "beta", "gamma", "delta"),
        on=f"{ALL}:delta",
        settings="  serial: 2\n  max_fail_percentage: 10\n",
    ),
    fails(
        "run once",
        "    - ansible.builtin.fail: {msg: for all}\n      run_once: true\n",
        "for all",
        "run once",
        on="alpha:beta",
        hosts=("alpha", "beta"),
    ),
    *(
        fails(
            f"strategy {name}",
            command("one"),
            BROKEN,
            hosts=("alpha", "beta"),
            on="alpha:beta",
            settings=f"  strategy: ansible.builtin.{name}\n",
        )
        for name in ("free", "host_pinned")
    ),
    fails(
        "no host matched",
        DEBUG,
        "no host of the inventory matched 'nobody'",
        hosts=("no host",),
        on="nobody",
        exit_code=0,
    ),
    Situation("a play without hosts beside a good one", play(DEBUG, "nobody") + play(DEBUG), exit_code=0, hosts=()),
    fails("no task ran", DEBUG, "no task ran", hosts=("no host",), arguments=("--tags", "nothing"), exit_code=0),
    fails(
        "no_log on a task",
        f"    - name: Give {{{{ given }}}}\n      ansible.builtin.command: sh -c 'echo {S['task']} >&2; exit 1'\n"
        "      no_log: true\n",
        "hidden by no_log",
        "play.yml:5",
        variables={"given": S["task"]},
    ),
    fails(
        "no_log on a loop",
        f"    - name: Set the passwords\n      ansible.builtin.command: sh -c 'echo {{{{ item }}}} >&2; exit 1'\n"
        f"      loop: [{S['loop']}, {S['loop']}2]\n      no_log: true\n",
        "hidden by no_log",
        "Set the passwords",
    ),
    fails(
        "no_log on a play",
        f"    - ansible.builtin.fail: {{msg: {S['play']}}}\n",
        "hidden by no_log",
        settings="  no_log: true\n",
    ),
    fails(
        "no_log on a block",
        f"    - no_log: true\n      block:\n      - ansible.builtin.fail: {{msg: {S['block']}}}\n",
        "hidden by no_log",
    ),
    fails(
        "no_log on a parameter",
        f"    - crash: {{how: fail, password: '{{{{ item }}}}'}}\n      loop: [{S['parameter']}, {S['parameter']}2]\n",
        "wrapped",
        "2 of 2 items failed",
    ),
    fails("argument that is a secret by its name", f"    - crash: {{how: crash, password: {S['argument']}}}\n", "boom"),
    fails(
        "secret in the environment of a task",
        command("one") + f"      environment: {{API_TOKEN: {S['environment']}}}\n",
        BROKEN,
    ),
    fails(
        "secret on the command line, said again",
        "    - ansible.builtin.fail: {msg: 'login with {{ db_password }} failed'}\n",
        "login with ******** failed",
        "db_password=********",
        arguments=("-e", f"db_password={S['extra']}"),
    ),
    fails(
        "secrets on the command line in JSON",
        "    - ansible.builtin.fail: {msg: '{{ db.token }} is wrong'}\n",
        "******** is wrong",
        arguments=("-e", f'{{"db": {{"token": "{S["json"]}"}}}}', "--vault-id", "{vault}"),
    ),
    fails(
        "private key in an output",
        f"    - ansible.builtin.command: printf -- '{BEGIN}\\n{S['key']}\\n{END}\\nthe end'\n      failed_when: true\n",
        "failed_when",
        "the end",
    ),
    fails(
        "unicode",
        "    - name: 数据备份 é\n      ansible.builtin.fail: {msg: '大亚湾 ist voll, \U0001f4be'}\n",
        "大亚湾 ist voll, \U0001f4be",
        "数据备份 é",
    ),
    fails(
        "5 MB of output",
        "    - ansible.builtin.command: sh -c 'head -c 5000000 /dev/zero | tr \"\\0\" x; echo; echo the end; exit 1'\n",
        "the end",
        "left out",
    ),
    fails(
        "bytes that are no UTF-8",
        "    - ansible.builtin.command: sh -c 'printf \"\\377\\376 odd\\n\" >&2; exit 1'\n",
        "odd|UTF8",
    ),
    fails(
        "message of many lines",
        '    - ansible.builtin.fail: {msg: "first\\r\\nBcc: thief@example.org\\r\\n\\r\\nsecond\\e[31m red\\0"}\n',
        "first",
        "second red",
        "Bcc: thief@example.org",
    ),
    fails(
        "item with a message of many lines",
        '    - ansible.builtin.fail: {msg: "first\\nTo: thief@example.org"}\n      loop: ["a\\nb"]\n',
        "item a b: first",
    ),
    fails(
        "check mode",
        "    - ansible.builtin.fail: {msg: not so}\n",
        "not so",
        "check mode",
        subject="FAILED (check mode) play.yml",
        arguments=("--check",),
    ),
    fails(
        "undefined variable",
        "    - name: Tell\n      ansible.builtin.debug: {msg: '{{ nothing_here }}'}\n",
        "'nothing_here' is undefined",
    ),
    fails("assertion", "    - ansible.builtin.assert: {that: [true, 1 == 2]}\n", "Assertion failed: 1 == 2"),
    fails(
        "failed_when",
        "    - ansible.builtin.command: echo too few\n      failed_when: true\n",
        "failed_when is true: too few",
    ),
    fails("module that crashes", "    - crash: {how: crash}\n", "boom"),
    fails("module that is killed", "    - crash: {how: kill}\n", "(rc 137)|(rc -9)"),
    fails("message that is no text", "    - crash: {how: 'true'}\n", "said nothing|True"),
    fails("deprecations and warnings", "    - crash: {how: fail}\n", "wrapped"),
    Situation(
        "later play that never starts",
        play(command("one")) + "- name: The second play\n  hosts: beta\n  tasks: []\n",
        words=(BROKEN, "Not started: play 'The second play'"),
    ),
    Situation(
        "two playbooks",
        play(DEBUG),
        words=("broken pipe of two",),
        subject="play.yml second.yml",
        arguments=("second.yml",),
    ),
    Situation(
        "ad hoc failure",
        "",
        words=("nothing-there", "To run again"),
        subject="ansible -m ansible.builtin.command",
        program="ansible",
        arguments=("alpha", "-m", "ansible.builtin.command", "-a", "ls nothing-there"),
    ),
    Situation(
        "ad hoc on a host that is unreachable",
        "",
        exit_code=4,
        hosts=("gone",),
        words=(REFUSED,),
        program="ansible",
        arguments=("gone", "-m", "ansible.builtin.ping"),
    ),
    Situation(
        "backup.yml with a missing base and an unreachable target",
        "",
        hosts=("alpha",),
        program="backup",
        words=(
            "/nowhere/at/all",
            REFUSED,
            "alpha -> gone",
            "altbackup_stamp=2",
            "Check markers, tools, clock, space and the way to the targets",
            "Check markers, tools, clocks and space of the targets of this source",
            "roles/preflight/tasks/main.yml:",
        ),
        absent=("Fail if anything failed",),
        subject="backup.yml: alpha",
    ),
)
