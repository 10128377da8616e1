"""Requests to a bucket: signed as S3 has them, and what answers is data with bounds."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.stores import s3
from ansible_collections.altbackup.core.plugins.module_utils.stores.locks import Locker
from ansible_collections.altbackup.core.plugins.module_utils.stores.settings import Store
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, DeadlineExceeded
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_request_is_signed_as_the_example_of_its_documentation() -> None:
    """The example of GET with a list of parameters, of 2013/05/24."""
    bucket = s3.Bucket(
        "https://examplebucket.s3.amazonaws.com",
        "",
        "us-east-1",
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    )
    headers = {"host": "examplebucket.s3.amazonaws.com", "x-amz-content-sha256": EMPTY}
    signed = s3.sign(bucket, "GET", "/", "max-keys=2&prefix=J", headers, 1369353600.0)
    assert signed["x-amz-date"] == "20130524T000000Z"
    assert signed["authorization"].endswith(
        "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    )


@contextlib.contextmanager
def answering(status: int, body: bytes, headers: dict[str, str] | None = None) -> Iterator[s3.Bucket]:
    """Let a server give one answer to all that is asked of it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_PUT = do_DELETE = do_GET  # noqa: N815 (the names that http.server asks for)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield s3.Bucket(f"http://127.0.0.1:{server.server_address[1]}", "vault", "r", "id", "hidden", timeout=2.0)
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"not xml", "is no XML"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "is no XML"),
        (b"<x><Version><Size>1</Size></Version></x>", "an entry without key or size"),
        (b"<x><IsTruncated>true</IsTruncated><NextKeyMarker>a</NextKeyMarker></x>", "does not end"),
        (b"<x><Version><Key>a</Key><Size>b</Size></Version></x>", "an entry without key or size"),
    ],
)
def test_a_list_that_is_none_is_an_error(body: bytes, message: str) -> None:
    with answering(200, body) as bucket, pytest.raises(AltbackupError, match=message):
        list(s3.versions(bucket, "a", Deadline(10)))


def test_versions_are_read_and_an_etag_of_parts_is_no_digest() -> None:
    entries = "".join(
        f"<Version><Key>a%2Fb</Key><VersionId>{number}</VersionId><Size>5</Size><ETag>&quot;{'a' * 32}{end}&quot;</ETag></Version>"
        for number, end in ((1, ""), (2, "-3"))
    )
    body = f'<l xmlns="urn:x"><EncodingType>url</EncodingType>{entries}<DeleteMarker><Key>c</Key><IsLatest>true</IsLatest></DeleteMarker></l>'
    with answering(200, body.encode()) as bucket:
        one, two, three = s3.versions(bucket, "a", Deadline(10))
    assert (one.key, one.size, one.digest, one.is_marker) == ("a/b", 5, "a" * 32, False)
    assert (two.id, two.digest) == ("2", "")
    assert three.is_marker and three.is_latest


def test_a_refusal_is_told_with_its_words_and_without_secrets() -> None:
    body = b"<Error><Code>AccessDenied</Code><Message>object protected by object lock</Message></Error>"
    with (
        answering(403, body) as bucket,
        pytest.raises(s3.Refused, match="AccessDenied: object protected by object lock") as caught,
    ):
        s3.delete(bucket, "a", "1", Deadline(10))
    assert caught.value.status == 403 and "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 0.0),
        ({"x-amz-object-lock-retain-until-date": "2013-05-24T00:00:00.000Z"}, 1369353600.0),
        ({"x-amz-object-lock-legal-hold": "ON"}, float("inf")),
    ],
)
def test_until_when_a_version_is_locked(headers: dict[str, str], expected: float) -> None:
    with answering(200, b"", headers) as bucket:
        assert s3.locked_until(bucket, "a", "1", Deadline(10)) == expected


def test_an_object_that_ends_early_is_an_error() -> None:
    with answering(200, b"short", {"content-length": "50"}) as bucket, pytest.raises(AltbackupError):
        s3.read(bucket, listed(50), Deadline(10), lambda _: None)


def test_an_object_with_more_bytes_than_were_listed_is_an_error_and_does_not_fill_a_disk() -> None:
    got: list[bytes] = []
    with answering(200, b"x" * 5000000) as bucket, pytest.raises(AltbackupError, match="has more of 5 bytes"):
        s3.read(bucket, listed(5), Deadline(10), got.append)
    assert not got


@pytest.mark.parametrize("headers_first", [True, False])
def test_a_server_that_says_a_byte_now_and_then_is_left_at_the_deadline(headers_first: bool) -> None:
    """None of its silences is as long as the limit of one."""
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        client = listener.accept()[0]
        with client, contextlib.suppress(OSError):
            if headers_first:
                client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
            for _ in range(100):
                client.sendall(b"x")
                time.sleep(0.1)

    threading.Thread(target=drip, daemon=True).start()
    bucket = s3.Bucket(f"http://127.0.0.1:{listener.getsockname()[1]}", "vault", "r", "id", "hidden", timeout=2.0)
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        list(s3.versions(bucket, "a", Deadline(1)))
    assert time.monotonic() - began < 5
    listener.close()


def test_what_a_server_lists_beside_what_was_asked_for_is_nothing_of_a_source() -> None:
    names = "".join(
        f"<Version><Key>{key}</Key><VersionId>1</VersionId><IsLatest>true</IsLatest><Size>1</Size></Version>"
        for key in ("backup/dayabay/a", "longer/dayabay/b", "c")
    )
    with answering(200, f"<x>{names}</x>".encode()) as bucket:
        seen = Locker(bucket, "backup", Store("vault", "there:vault/backup"), Deadline(10)).seen("dayabay")
    assert set(seen.latest) == {"a"}


def listed(size: int) -> s3.Version:
    """Return a version of an object as it was listed."""
    return s3.Version("a", "1", True, False, size, "", "")
