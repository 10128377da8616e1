"""Sends messages of the spool through apprise, and removes each file that all its channels took.

It runs as a program, started by path, imports nothing of this collection, and one alarm limits its time. Standard input is one JSON
mapping of urls, timeout (seconds) and files; standard output has a line of JSON for each file. A file is a JSON mapping of title, body,
bad (whether it tells of failures) and done (names of the channels that took it).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

_SECONDS = 4
"""Seconds that apprise waits for a connection, and again for an answer; the alarm limits the whole"""


def name_of(url: str) -> str:
    """Return the name of a channel in files: a digest, as its URL is a secret."""
    return hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()[:16]


def send_file(urls: Sequence[str], path: str, deadline: float) -> tuple[bool, str]:
    """Send a message to the channels that have not taken it; return (whether this process has nothing left to send, why not).

    `deadline` is a time of the monotonic clock. The file is removed once all channels took it, else rewritten with those that did. A file
    that is gone, or that another process is sending, is left alone.
    """
    try:
        stream = open(path, "r+b")
    except FileNotFoundError:
        return True, ""
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True, ""  # another process is sending it
        if not os.fstat(stream.fileno()).st_nlink:
            return True, ""
        message = json.loads(stream.read())
        done = list(message["done"])
        wanted = [url for url in urls if name_of(url) not in done]
        problems = send_to_all(wanted, message, deadline)
        done += [name_of(url) for url, problem in zip(wanted, problems) if not problem]  # noqa: B905 # of one length
        if any(problems):
            _write(f"{path}.new", json.dumps({**message, "done": done}).encode())
            os.replace(f"{path}.new", path)
        else:
            os.unlink(path)
        return not any(problems), "; ".join(filter(None, problems))


def send_to_all(urls: Sequence[str], message: Mapping[str, Any], deadline: float) -> list[str]:
    """Send a message to all channels at once, until `deadline` of the monotonic clock; return for each why it failed, "" if it did not."""
    problems = [f"{kind_of(url)}: no answer in time" for url in urls]

    def work(number: int, url: str) -> None:
        problems[number] = send(url, message)

    threads = [threading.Thread(target=work, args=entry, daemon=True) for entry in enumerate(urls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return list(problems)


def send(url: str, message: Mapping[str, Any]) -> str:
    """Send a message to one channel; return why that failed, "" if it did not."""
    import apprise

    kind = kind_of(url)
    try:
        plugin = apprise.Apprise.instantiate(url)
        if plugin is None:
            return f"{kind}: this is no URL that apprise knows, or what it needs is not installed"
        if message["bad"] and "priority" in plugin.template_args and "priority=" not in url:
            plugin = apprise.Apprise.instantiate(f"{url}{'&' if '?' in url else '?'}priority=high") or plugin
        plugin.socket_connect_timeout = plugin.socket_read_timeout = _SECONDS
        log_lines: list[str] = []
        with apprise.LogCapture(level=apprise.logging.WARNING, fmt="%(message)s") as log:
            done = plugin.notify(
                title=message["title"],
                body=message["body"],
                notify_type=apprise.NotifyType.FAILURE if message["bad"] else apprise.NotifyType.SUCCESS,
                body_format=apprise.NotifyFormat.TEXT,
            )
            log_lines += log.getvalue().splitlines()
    except Exception as error:  # noqa: BLE001 # whatever a service's plugin raises must not keep the other channels from the message
        return f"{kind}: {type(error).__name__}"
    return (
        ""
        if done
        else f"{kind}: {masked(' '.join(log_lines[-1].split()), url)[:300] if log_lines else 'it was not taken'}"
    )


def masked(text: str, url: str) -> str:
    """Return a message of apprise without any word of the channel's URL, as topics, tokens and rooms are secrets."""
    words = {word for word in re.split(r"[^\w.-]+", url.partition("://")[2]) if len(word) > 2}
    for word in sorted(words, key=len, reverse=True):
        text = text.replace(word, "***")
    return text


def kind_of(url: str) -> str:
    """Return the scheme of a channel's URL, the only part that is no secret."""
    return url.partition("://")[0][:30] if "://" in url else "a channel"


def _write(path: str, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def main() -> None:
    """Send the files named on standard input and report each on standard output; the alarm ends the process when the time is over."""
    job = json.load(sys.stdin)
    signal.setitimer(signal.ITIMER_REAL, job["timeout"])
    began = time.monotonic()
    for number, path in enumerate(job["files"]):
        until = began + job["timeout"] * 0.95 * (number + 1) / len(job["files"])
        try:
            sent, problem = send_file(job["urls"], path, until)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            sent, problem = False, f"{type(error).__name__}: {error}"
        print(json.dumps({"file": path, "sent": sent, "said": problem}), flush=True)
    os._exit(0)  # do not join threads that still wait for an answer


if __name__ == "__main__":
    main()
