"""Local receivers of pings and messages that imitate healthchecks.io, Uptime Kuma, and apprise's json and ntfy, in several moods."""

from __future__ import annotations

import contextlib
import json
import re
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

CHECK = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"
TOKEN = "xYz12abcQ7"
"""Token of a monitor"""
RID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
MOODS = ("accepts", "refuses", "never answers")
MOST_BODY = 100_000


@dataclass(frozen=True)
class Taken:
    """An accepted request."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    """{lower-case name: value}"""


@dataclass
class WebReceiver:
    """A running receiver, and what it accepted."""

    mood: str
    secure: bool = False
    port: int = 0
    taken: list[Taken] = field(default_factory=list)
    asked: list[Taken] = field(default_factory=list)
    """All requests, in order, accepted or not"""
    over: threading.Event = field(default_factory=threading.Event)
    answers: list[tuple[int, str]] = field(default_factory=list)
    """(status, text) of the first answers, in order"""
    location: str = ""
    """Address to which it redirects every request"""

    @property
    def url(self) -> str:
        """Its address."""
        return f"http{'s' if self.secure else ''}://127.0.0.1:{self.port}"

    @property
    def check(self) -> str:
        """Address of a check, like healthchecks.io's."""
        return f"{self.url}/{CHECK}"

    @property
    def monitor(self) -> str:
        """Address of a push monitor, like Uptime Kuma's."""
        return f"{self.url}/api/push/{TOKEN}?status=up&msg=OK&ping="

    @property
    def ntfy(self) -> str:
        """Address of a topic, in apprise's form."""
        return f"ntfy://127.0.0.1:{self.port}/backups"

    @property
    def json(self) -> str:
        """Address for JSON, in apprise's form."""
        return f"json://127.0.0.1:{self.port}/hook"

    def signals(self) -> list[str]:
        """Return the signals to the check, in order: `success`, or the last part of the path."""
        found = [taken.path.removeprefix(f"/{CHECK}") for taken in self.taken if taken.path.startswith(f"/{CHECK}")]
        return [signal.lstrip("/") or "success" for signal in found]

    def answer(self, asked: Taken) -> tuple[int, str]:
        """Return status and text of the answer to a request, by the rules of the imitated service."""
        if self.answers:
            return self.answers.pop(0)
        if asked.path.startswith("/api/push/"):
            return self._kuma(asked)
        if re.match(r"/[0-9a-f]{8}-", asked.path):
            return self._healthchecks(asked)
        return self._message(asked)

    def _healthchecks(self, asked: Taken) -> tuple[int, str]:
        name, _, signal = asked.path.strip("/").partition("/")
        known = signal in ("", "start", "fail", "log") or (signal.isdigit() and int(signal) <= 255)
        rid = asked.query.get("rid", "")
        if not known or (rid and not RID.fullmatch(rid)) or asked.method not in ("GET", "HEAD", "POST"):
            return 400, "invalid url format"
        if name != CHECK or self.mood == "refuses":
            return 200, "OK (not found)"
        self.taken.append(Taken(asked.method, asked.path, asked.query, asked.body[:MOST_BODY]))
        return 200, "OK"

    def _kuma(self, asked: Taken) -> tuple[int, str]:
        milliseconds = asked.query.get("ping", "")
        right = asked.query.get("status") in ("up", "down") and re.fullmatch(r"[0-9.]*", milliseconds)
        if asked.path != f"/api/push/{TOKEN}" or self.mood == "refuses" or not right:
            return 404, json.dumps({"ok": False, "msg": "Monitor not found or not active."})
        self.taken.append(asked)
        return 200, json.dumps({"ok": True})

    def _message(self, asked: Taken) -> tuple[int, str]:
        if self.mood == "refuses" or asked.method != "POST":
            return 403, json.dumps({"code": 40301, "error": "forbidden"})
        self.taken.append(asked)
        return 200, json.dumps({"id": "1", "event": "message"})


@contextlib.contextmanager
def receiving(mood: str, certificate: Path | None = None) -> Iterator[WebReceiver]:
    """Run a receiver in a mood; with a certificate it speaks TLS."""
    receiver = WebReceiver(mood, secure=certificate is not None)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Taken(self.command, parts.path, query, body, headers)
            receiver.asked.append(asked)
            if receiver.mood == "never answers":
                receiver.over.wait(60)
                return
            status, text = (302, "") if receiver.location else receiver.answer(asked)
            self.send_response(status)
            if receiver.location:
                self.send_header("Location", receiver.location)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign] # a client that does not trust it
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
