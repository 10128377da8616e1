"""Send mails that lie in files, and remove each file that was taken over. A program with one alarm for all its work.

It imports nothing but the standard library, and is started by path, because only the end of a process reliably bounds a name that does not
resolve or a server that answers a byte a second. Standard input is one JSON mapping of host, port, security, username, password, sendmail,
timeout (seconds) and files; standard output has a line of JSON for each file.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from email import message_from_bytes, policy
from email.message import Message
from email.utils import getaddresses
from typing import Any


class Refused(Exception):
    """A mail that was not taken over; the message is the answer of the server or of sendmail."""


def send_file(options: Mapping[str, Any], path: str, deadline: float) -> str:
    """Send the mail in a file and remove the file. Raise Refused. `deadline` is a time of the monotonic clock.

    Return the recipients whom the server refused while it took the mail for others; the file is then kept for those alone.
    """
    with locked(path) as stream:
        if stream is None:
            return ""
        raw = stream.read()
        refused = send(options, raw, deadline)
        if refused:
            message = message_from_bytes(raw, policy=policy.SMTP)
            message.replace_header("To", ", ".join(refused))
            _write(f"{path}.new", message.as_bytes())
            os.replace(f"{path}.new", path)
        else:
            os.unlink(path)
        return ", ".join(refused)


def _write(path: str, data: bytes) -> None:
    """Write a file as `write_private` does, which this program cannot import, since it is started by path."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


@contextlib.contextmanager
def locked(path: str) -> Iterator[Any]:
    """Open a file for this process alone; yield None if it is gone or another process is sending it."""
    try:
        stream = open(path, "r+b")
    except FileNotFoundError:
        yield None
        return
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield stream if os.fstat(stream.fileno()).st_nlink else None


def send(options: Mapping[str, Any], raw: bytes, deadline: float) -> list[str]:
    """Send a mail, given as bytes; return the recipients that were refused. Raise Refused if all were."""
    headers = message_from_bytes(raw, policy=policy.SMTP)
    sender, recipients = _addresses(headers, "From")[0], _addresses(headers, "To")
    try:
        if options["host"]:
            return _send_smtp(options, raw, sender, recipients, deadline)
        _send_sendmail(options["sendmail"], raw, sender, recipients, deadline)
    except smtplib.SMTPResponseException as error:
        raise Refused(f"{error.smtp_code} {_text(error.smtp_error)}") from error
    except smtplib.SMTPRecipientsRefused as error:
        words = "; ".join(f"{name}: {code} {_text(reply)}" for name, (code, reply) in error.recipients.items())
        raise Refused(f"all recipients refused: {words}") from error
    except (OSError, ValueError, smtplib.SMTPException, subprocess.SubprocessError) as error:
        raise Refused(str(error) or type(error).__name__) from error
    return []


def _send_smtp(
    options: Mapping[str, Any], raw: bytes, sender: str, recipients: list[str], deadline: float
) -> list[str]:
    left = max(deadline - time.monotonic(), 0.1)
    host, port = str(options["host"]), int(options["port"])
    context = ssl.create_default_context()
    name = socket.gethostname()  # smtplib would ask the resolver, which may take long
    own = name if "." in name else "[127.0.0.1]"
    if options["security"] == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, own, timeout=left, context=context)
    else:
        server = smtplib.SMTP(host, port, own, timeout=left)
    try:
        if options["security"] == "starttls":
            server.starttls(context=context)
        if options["username"]:
            server.login(str(options["username"]), str(options["password"]))
        refused = server.sendmail(sender, recipients, raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    except BaseException:
        server.close()
        raise
    with contextlib.suppress(OSError, smtplib.SMTPException):
        server.quit()  # the mail is taken over, so errors of the farewell do not matter
    return list(refused)


def _send_sendmail(program: str, raw: bytes, sender: str, recipients: list[str], deadline: float) -> None:
    if not program:
        raise Refused("no server is set, and there is no sendmail on this machine")
    done = subprocess.run(
        [program, "-i", "-f", sender, "--", *recipients],
        input=raw.replace(b"\r\n", b"\n"),  # sendmail expects the line ends of files
        capture_output=True,
        timeout=max(deadline - time.monotonic(), 0.1),
        check=False,
    )
    if done.returncode:
        output = _text(done.stderr or done.stdout)
        raise Refused(f"{program} ended with {done.returncode}{f': {output}' if output else ''}")


def _addresses(message: Message[str, str], header: str) -> list[str]:
    return [address for _, address in getaddresses([str(message.get(header, ""))]) if address] or [""]


def _text(value: Any) -> str:
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    return " ".join(text.split())[-500:]


def main() -> int:
    """Send the files named on standard input, with the result of each on standard output; an alarm ends the process at the timeout."""
    options = json.load(sys.stdin)
    signal.setitimer(signal.ITIMER_REAL, options["timeout"])
    deadline = time.monotonic() + options["timeout"] * 0.98
    for path in options["files"]:
        try:
            outcome = {"file": path, "sent": True, "said": send_file(options, path, deadline)}
        except (Refused, OSError) as error:
            outcome = {"file": path, "sent": False, "said": str(error)}
        print(json.dumps(outcome), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
