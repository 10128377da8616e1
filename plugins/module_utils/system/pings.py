"""Pings to healthchecks.io and Uptime Kuma, which raise an alarm when pings stay away.

Rules of the first: https://healthchecks.io/docs/http_api/, of the second: "Push" among its monitors. As a program, started by path, one
alarm bounds it: a name that does not resolve and a server that answers a byte a second end with the process. It imports nothing but the
standard library. Standard input is one JSON mapping of `pings` (mappings of the fields of Ping), `timeout` (seconds for all) and `state`
(the file that keeps when each address was pinged); standard output has a line of JSON for each ping, `sent` and `said`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import signal
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

HEALTHCHECKS, KUMA = "healthchecks", "kuma"
KINDS = (HEALTHCHECKS, KUMA)
START, SUCCESS, FAIL = "start", "success", "fail"
MOST_BODY = 100_000
"""Most bytes of a body that healthchecks.io keeps"""
MOST_A_MINUTE = 5
"""Most pings of one address a minute: more are ignored there"""
_MOST_STARTS = 3
"""Most pings in the last minute for a start still to be sent, because ends matter more"""
_MINUTE = 60.0
_PAUSES = (0.0, 1.0, 3.0)
"""Seconds before each attempt"""
_AGAIN = (408, 429, 500, 502, 503, 504)
"""HTTP status codes after which another attempt makes sense"""
_SCHEMES = ("http", "https")
_LONGEST_URL = 2000
_LONGEST_MESSAGE = 250
_MOST_ANSWER = 2000


class Refused(Exception):
    """A ping that was not taken; the message says why, without the address, which is a secret."""


@dataclass(frozen=True)
class Ping:
    """One ping."""

    kind: str
    url: str = field(repr=False)
    signal: str
    """START, SUCCESS, FAIL or an exit code, 0 to 255"""
    rid: str = ""
    """UUID, the same for the start and the end of a run"""
    body: str = ""
    message: str = ""
    """One short line, for Uptime Kuma"""
    milliseconds: int = 0
    """Duration of the run, for Uptime Kuma"""

    @property
    def is_up(self) -> bool:
        """Whether it reports no failure."""
        return self.signal in (START, SUCCESS, "0")


def problem_of(url: str) -> str:
    """Return why an address cannot be pinged, empty if it can; the text does not quote the address."""
    try:
        parts = urllib.parse.urlsplit(url)
        parts.port  # noqa: B018 # raises ValueError
    except ValueError as error:
        return f"is no URL ({str(error).partition(':')[0]})"
    if parts.scheme not in _SCHEMES or not parts.hostname:
        return "is no URL that begins with https:// or http://"
    if not re.fullmatch(r"[!-~]+", url) or len(url) > _LONGEST_URL:
        return f"has other characters than a URL has, or more than {_LONGEST_URL}"
    return ""


def shown(url: str) -> str:
    """Return the parts of an address that are no secret: scheme, host and port."""
    parts = urllib.parse.urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{port}/***"


def request_of(ping: Ping) -> urllib.request.Request:
    """Return the HTTP request of a ping, as healthchecks.io and Uptime Kuma document it."""
    parts = urllib.parse.urlsplit(ping.url)
    query = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
    path, data = parts.path.rstrip("/"), None
    if ping.kind == KUMA:
        told = {"status": "up" if ping.is_up else "down", "msg": ping.message[:_LONGEST_MESSAGE]}
        told["ping"] = str(max(0, ping.milliseconds))
        query = [pair for pair in query if pair[0] not in told] + list(told.items())
    else:
        path += "" if ping.signal == SUCCESS else f"/{ping.signal}"
        query += [("rid", ping.rid)] if ping.rid else []
        data = ping.body.encode("utf-8", "backslashreplace")[:MOST_BODY] or None
    url = urllib.parse.urlunsplit(parts._replace(path=path, query=urllib.parse.urlencode(query), fragment=""))
    headers = {"User-Agent": "altbackup", **({"Content-Type": "text/plain; charset=utf-8"} if data else {})}
    return urllib.request.Request(url, data=data, headers=headers)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, by which a ping may lose its body and its secret."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        place = shown(urllib.parse.urljoin(req.full_url, newurl))
        raise Refused(f"it was sent on to {place} ({code}), which is not followed: write the address that is meant")


def send(ping: Ping, deadline: float, clock: Callable[[], float] = time.monotonic) -> None:
    """Send a ping, with at most three attempts, before a time of the clock. Raise Refused with the last reason.

    Certificates are verified. Proxies are those of the environment, as urllib takes them.
    """
    opener = urllib.request.build_opener(
        _NoRedirects(), urllib.request.HTTPSHandler(context=ssl.create_default_context())
    )
    each = max(0.1, (deadline - clock()) / len(_PAUSES))
    reason = "there was no time for it"
    for pause in _PAUSES:
        if clock() + pause >= deadline:
            break
        time.sleep(pause)
        try:
            with opener.open(request_of(ping), timeout=max(0.1, min(each, deadline - clock()))) as answer:
                refused = _refusal(ping, answer.read(_MOST_ANSWER))
        except urllib.error.HTTPError as error:
            with error:
                reason = _http_reason(error)
            if error.code in _AGAIN:
                continue
        except (OSError, HTTPException, ValueError) as error:
            reason = _reason(error)
            if not isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError):
                continue
        else:
            if not refused:
                return
            reason = refused
        break
    raise Refused(reason)


def _refusal(ping: Ping, answer: bytes) -> str:
    """Return why the answer to a ping, whose status code is good, still refuses it; empty if it does not."""
    text = answer.decode("utf-8", "replace")
    if ping.kind == HEALTHCHECKS:
        found = re.match(r"OK \((not found|rate limited)\)", text)
        return f"the service says: {found[1]}" if found else ""
    with contextlib.suppress(ValueError, AttributeError, RecursionError):
        if json.loads(text).get("ok") is False:
            return "the service says that it is not ok"
    return ""


def _http_reason(error: urllib.error.HTTPError) -> str:
    return f"the service answered {error.code} {_line(error.reason)}"


def _reason(error: BaseException) -> str:
    """Return why there was no answer, without the address."""
    inner = getattr(error, "reason", error)
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {_line(inner.verify_message)}"
    if isinstance(inner, TimeoutError) or "timed out" in str(inner):
        return "it does not answer"
    if isinstance(inner, OSError) and inner.strerror:
        return _line(inner.strerror)
    return type(inner).__name__ if not isinstance(inner, str) else "it cannot be reached"


def _line(text: object) -> str:
    return " ".join(str(text).split())[:200]


def take_turn(path: str, ping: Ping, now: float) -> bool:
    """Return whether a ping may be sent at `now` (seconds since 1970), and note it in the file `path`.

    No address is pinged more than five times a minute. If the file cannot be written, the ping may be sent.
    """
    name = hashlib.sha256(ping.url.encode("utf-8", "replace")).hexdigest()[:16]
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return True
    with os.fdopen(
        descriptor, "r+b", buffering=0
    ) as stream:  # unbuffered, so that what a full disk refuses is not written again when the file is closed
        fcntl.flock(stream, fcntl.LOCK_EX)
        known = _recent(stream.read(1 << 20).decode("utf-8", "replace"), now)
        sent = known.setdefault(name, [])
        if len(sent) >= (_MOST_STARTS if ping.signal == START else MOST_A_MINUTE):
            return False
        sent.append(now)
        with contextlib.suppress(OSError):
            stream.seek(0)
            stream.truncate()
            stream.write(json.dumps(known).encode())
    return True


def _recent(text: str, now: float) -> dict[str, list[float]]:
    """Return {hash of an address: times at which it was pinged} of the last minute."""
    try:
        value = json.loads(text)
        entries = value.items() if isinstance(value, Mapping) else ()
        found = {
            str(name): [float(when) for when in times if 0 <= now - float(when) < _MINUTE] for name, times in entries
        }
    except (ValueError, TypeError, RecursionError):
        return {}
    return {name: times for name, times in found.items() if times}


def send_all(pings: Sequence[Mapping[str, Any]], state: str, deadline: float) -> list[dict[str, Any]]:
    """Send pings, given as mappings, before a time of the monotonic clock; return the result of each. `state` is the file of take_turn."""
    told = []
    for number, value in enumerate(pings):
        ping = Ping(**value)
        left = len(pings) - number
        until = time.monotonic() + (deadline - time.monotonic()) / left
        problem = ""
        if take_turn(state, ping, time.time()):
            try:
                send(ping, until)
            except Refused as error:
                problem = str(error)
        else:
            problem = f"it was pinged too often within a minute, and takes {MOST_A_MINUTE}"
        told.append({"number": number, "sent": not problem, "said": problem})
        print(json.dumps(told[-1]), flush=True)
    return told


def main() -> int:
    """Send the pings named on standard input; an alarm ends the process after `timeout` seconds."""
    job = json.load(sys.stdin)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, job["timeout"])
    send_all(job["pings"], job["state"], time.monotonic() + job["timeout"] * 0.95)
    return 0


if __name__ == "__main__":
    sys.exit(main())
