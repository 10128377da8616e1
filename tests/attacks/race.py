"""Calls a module, or the script, a thousand times as root while a user's process swaps a path in a loop.

Input: {"module" or "argv", "arguments", "count", "uid", "swap", "steal", "reset"}; `{clock}` in arguments is another second of the day for
each call. `swap` are two paths to exchange, `steal` is a folder in which whatever a restore makes is moved away and replaced by a link to
`target`, `reset` are paths to remove before each call. Output: {"calls", "swaps", "said": {message: how often}}.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from typing import Any, NoReturn

from ansible.module_utils.testing import patch_module_args

MODULES = "ansible_collections.altbackup.core.plugins.modules"
_EXCHANGE, _AT_FDCWD = 2, -100
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Serve one race."""
    asked = json.load(sys.stdin)
    counter = tempfile.TemporaryFile()
    main_of = importlib.import_module(f"{MODULES}.{asked['module']}").main if "module" in asked else None
    with contextlib.suppress(ImportError, AttributeError):  # the pause between attempts is not part of the race
        dump_item = importlib.import_module(f"{MODULES.replace('.modules', '.module_utils')}.stages.dump_item")
        dump_item._PAUSES = tuple(0.0 for _ in dump_item._PAUSES)
    attacker = os.fork()
    if attacker == 0:
        attack(asked, counter.fileno())
    said: Counter[str] = Counter()
    try:
        for number in range(asked["count"]):
            for path in asked.get("reset", []):
                remove(path)
            clock = time.strftime("%H%M%S", time.gmtime(number))
            text = json.dumps(asked.get("arguments") or asked.get("argv")).replace("{clock}", clock)
            said.update(call(main_of, json.loads(text)))
    finally:
        os.kill(attacker, signal.SIGKILL)
        os.waitpid(attacker, 0)
    swaps = int(os.pread(counter.fileno(), 20, 0) or b"0")
    print(json.dumps({"calls": asked["count"], "swaps": swaps, "said": dict(said.most_common(50))}))


def remove(path: str) -> None:
    """Remove what is at a path."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)


def attack(asked: dict[str, Any], counter: int) -> NoReturn:
    """Act as the user, with no rights but his own, until the end."""
    os.setgroups([])
    os.setresgid(asked["uid"], asked["uid"], asked["uid"])
    os.setresuid(asked["uid"], asked["uid"], asked["uid"])
    number = 0
    while True:
        number += swap(*asked["swap"]) if asked.get("swap") else steal(asked["steal"], asked["target"], number)
        if number % 100 == 0:
            os.pwrite(counter, b"%d" % number, 0)
        if number % 7 == 0:
            time.sleep(0.0001 * (number % 40))


def swap(one: str, other: str) -> int:
    """Exchange two paths."""
    _libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), ctypes.c_uint(_EXCHANGE))
    return 1


def steal(folder: str, target: str, number: int) -> int:
    """Move away what was just made in a folder, and put a link in its place; move old links away."""
    done = 0
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if name.startswith("stolen-"):
            continue
        with contextlib.suppress(OSError):
            if os.path.islink(path):
                time.sleep(0.002)
                os.unlink(path)
            else:
                os.rename(path, os.path.join(folder, f"stolen-{number}"))
                os.symlink(target, path)
            done += 1
    return done or (number % 2)


def call(main_of: Any, arguments: Any) -> list[str]:
    """Call the module, or the script, in a process of its own; return its message, without what differs from call to call."""
    if main_of is None:
        done = subprocess.run(arguments, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        lines = (done.stderr or done.stdout).strip().splitlines() or [""]
        return [_short(f"{done.returncode}: {lines[-1]}")]
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            run(main_of, arguments, output.fileno())
        os.waitpid(child, 0)
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    try:
        result = json.loads(text)
    except ValueError:
        return [_short(f"crashed: {text[-300:]}")]
    return [_short(entry["reason"]) for entry in result.get("failures") or []] or ["done"]


def _short(text: str) -> str:
    return re.sub(r"\d{2,}", "N", text)[:300]


def run(main_of: Any, arguments: dict[str, Any], output: int) -> NoReturn:
    """Be the process of a module."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    code = 0
    try:
        with patch_module_args(arguments):
            main_of()
    except SystemExit:
        code = 0
    except BaseException as error:  # noqa: BLE001 (as the interpreter would)
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
