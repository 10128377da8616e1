"""A real SMTP server on this machine in one of several moods."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

USERNAME, PASSWORD = "altbackup", "correct horse battery"
MOODS = (
    "accepts",
    "refuses for now",
    "refuses for good",
    "never answers",
    "drops the line",
    "insists on CRLF",
    "TLS and login",
)
DELIVERING = ("accepts", "insists on CRLF", "TLS and login")


@dataclass
class MailServer:
    """A running server, and the mails that it accepted."""

    mood: str
    host: str = "127.0.0.1"
    port: int = 0
    mails: list[bytes] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    refused: frozenset[str] = frozenset()
    """Recipients that it refuses"""

    def options(self) -> dict[str, Any]:
        """Return the mail options that reach it."""
        secured = self.mood == "TLS and login"
        return {
            "host": self.host,
            "port": self.port,
            "security": "starttls" if secured else "tls" if self.mood == "TLS from the start" else "none",
            "username": USERNAME if secured else "",
            "password": PASSWORD if secured else "",
        }

    def messages(self) -> list[EmailMessage]:
        """Return the mails that it accepted."""
        return [read_mail(raw) for raw in self.mails]

    async def handle_RCPT(  # noqa: N802 # aiosmtpd's name
        self, server: Any, session: Session, envelope: Envelope, address: str, options: Any
    ) -> str:
        """Accept a recipient, or refuse it."""
        if address in self.refused:
            return "550 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802 # aiosmtpd's name
        """Accept a mail, or refuse it."""
        raw = envelope.original_content or b""
        if self.mood == "refuses for now":
            return "451 try again later"
        if self.mood == "refuses for good":
            return "554 we do not want that"
        if self.mood == "drops the line":
            server.transport.abort()
            return "451 gone"
        if raw.replace(b"\r\n", b"").count(b"\n") or raw.replace(b"\r\n", b"").count(b"\r"):
            return "550 bare LF or CR"
        self.mails.append(raw)
        self.recipients.append(list(envelope.rcpt_tos))
        return "250 taken over"


def read_mail(raw: bytes) -> EmailMessage:
    """Return a mail, given as bytes, parsed as a mail program does."""
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def text_of(message: EmailMessage, kind: str = "plain") -> str:
    """Return the text of a mail, or its HTML."""
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


def make_certificate(folder: Path) -> Path:
    """Make a self-signed certificate for 127.0.0.1, with its key, in one file; return the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(*form) + certificate.public_bytes(serialization.Encoding.PEM))
    return path


@contextlib.contextmanager
def serving(
    mood: str, certificate: Path | None = None, refused: frozenset[str] = frozenset(), host: str = "127.0.0.1"
) -> Iterator[MailServer]:
    """Run a server in a mood; those with TLS need a certificate that the client trusts (SSL_CERT_FILE)."""
    server = MailServer(mood, host, refused=refused)
    if mood in ("never answers", "dribbles"):
        with _listening(server, dribbles=mood == "dribbles"):
            yield server
        return
    options: dict[str, Any] = {}
    if mood in ("TLS and login", "TLS from the start"):
        assert certificate is not None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        if mood == "TLS from the start":
            options = {"ssl_context": context}
        else:
            options = {
                "tls_context": context,
                "require_starttls": True,
                "auth_required": True,
                "authenticator": _authenticate,
                "auth_exclude_mechanism": ["LOGIN"],
            }
    port = _free_port()
    controller = Controller(server, hostname=server.host, port=port, ready_timeout=30, **options)
    controller.start()
    server.port = port
    try:
        yield server
    finally:
        controller.stop()


def _authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    right = (data.login, data.password) == (USERNAME.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=right)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _listening(server: MailServer, dribbles: bool) -> Iterator[None]:
    """Accept connections and send nothing, or one byte every tenth of a second, never a whole line."""
    over = threading.Event()
    with socket.create_server((server.host, 0)) as listener:
        server.port = listener.getsockname()[1]
        listener.settimeout(0.1)
        connections: list[socket.socket] = []

        def serve() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    connections.append(listener.accept()[0])
                for connection in connections if dribbles else ():
                    with contextlib.suppress(OSError):
                        connection.send(b"2")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            for connection in connections:
                connection.close()
