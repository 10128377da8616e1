"""What rclone cannot ask of a bucket: versions of its objects, what locks them, and what was put over them to hide them.

Requests are signed as in https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
"""

from __future__ import annotations

import base64
import calendar
import contextlib
import hashlib
import hmac
import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_plus, urlsplit
from xml.etree import ElementTree

from ..system.digest import new_hash
from ..system.errors import AltbackupError
from ..system.processes import Deadline
from ..system.visible import one_line

GOVERNANCE, COMPLIANCE = "governance", "compliance"
_MOST = 1 << 24
"""Most bytes of an answer that is no object"""
_MOST_PAGES = 10_000
_NOT_FOUND = 404
_CHUNK = 1 << 20
_EMPTY = hashlib.sha256(b"").hexdigest()
_DATE = "%Y-%m-%dT%H:%M:%SZ"


class Refused(AltbackupError):
    """A request that the server answered with an error; `status` is its number."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Bucket:
    """A bucket, how it is reached, and as whom. What is secret is shown nowhere."""

    endpoint: str
    """As https://s3.example.org or http://127.0.0.1:9000"""
    name: str
    region: str
    key_id: str = field(repr=False)
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)
    connect_timeout: float = 15.0
    """Seconds"""
    timeout: float = 60.0
    """Seconds without a byte"""


@dataclass(frozen=True)
class Version:
    """One version of an object, or a delete marker, which has no bytes and hides those below it."""

    key: str
    id: str
    is_latest: bool
    is_marker: bool
    size: int
    digest: str
    """MD5 of its bytes as the server has it; empty where its ETag is none, as of what came in parts"""
    modified: str


def sign(bucket: Bucket, method: str, path: str, query: str, headers: Mapping[str, str], now: float) -> dict[str, str]:
    """Return the headers of a request with its signature; they have the digest of its body already."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    signed = {**{name.lower(): value for name, value in headers.items()}, "x-amz-date": stamp}
    if bucket.token:
        signed["x-amz-security-token"] = bucket.token
    names = ";".join(sorted(signed))
    lines = [method, path, query, *(f"{name}:{signed[name].strip()}" for name in sorted(signed)), "", names]
    lines.append(signed["x-amz-content-sha256"])
    scope = f"{stamp[:8]}/{bucket.region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"
    key = f"AWS4{bucket.secret}".encode()
    for part in [*scope.split("/"), text]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signed["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={bucket.key_id}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    )
    return signed


def versions(bucket: Bucket, prefix: str, deadline: Deadline) -> Iterator[Version]:
    """Yield all versions of all objects below a prefix, of each object the newest first. Raise AltbackupError."""
    markers: dict[str, str] = {}
    for _ in range(_MOST_PAGES):
        query = {"versions": "", "prefix": prefix, "encoding-type": "url", **markers}
        page = _tree(_ask(bucket, "GET", "", query, deadline), bucket)
        told = {_word(entry.tag): entry.text or "" for entry in page}
        decode = unquote_plus if told.get("EncodingType") == "url" else str
        for entry in page:
            if _word(entry.tag) in ("Version", "DeleteMarker"):
                yield _version(entry, bucket, decode)
        if told.get("IsTruncated") != "true":
            return
        following = {
            "key-marker": decode(told.get("NextKeyMarker", "")),
            "version-id-marker": told.get("NextVersionIdMarker", ""),
        }
        if following == markers or not following["key-marker"]:
            break
        markers = following
    raise AltbackupError(
        f"{bucket.endpoint}: the list of versions of {bucket.name} does not end: see what answers there"
    )


def retain(bucket: Bucket, key: str, version: str, until: float, mode: str, deadline: Deadline) -> None:
    """Lock a version of an object until a time (seconds since 1970). Raise AltbackupError."""
    date = time.strftime(_DATE, time.gmtime(until))
    body = (
        '<Retention xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Mode>{mode.upper()}</Mode><RetainUntilDate>{date}</RetainUntilDate></Retention>"
    )
    _ask(bucket, "PUT", key, {"retention": "", "versionId": version}, deadline, body.encode())


def locked_until(bucket: Bucket, key: str, version: str, deadline: Deadline) -> float:
    """Return until when a version of an object is locked (seconds since 1970), 0 for not at all, and beyond all dates for a legal hold."""
    with _answered(bucket, "HEAD", key, {"versionId": version}, deadline) as answer:
        if (answer.getheader("x-amz-object-lock-legal-hold") or "").upper() == "ON":
            return float("inf")
        return _seconds(answer.getheader("x-amz-object-lock-retain-until-date") or "")


def delete(bucket: Bucket, key: str, version: str, deadline: Deadline) -> None:
    """Delete a version of an object for good. Raise Refused for one that is locked."""
    _ask(bucket, "DELETE", key, {"versionId": version}, deadline)


def read(bucket: Bucket, version: Version, deadline: Deadline, take: Callable[[bytes], object]) -> None:
    """Read a version of an object, and hand its bytes over as they come. Raise AltbackupError where they are not as many as were listed."""
    with _answered(bucket, "GET", version.key, {"versionId": version.id}, deadline) as answer:
        count = 0
        while chunk := answer.read(_CHUNK):
            count += len(chunk)
            if count > version.size:
                break
            take(chunk)
    if count != version.size:
        ending = "has more" if count > version.size else f"ended after {count}"
        raise AltbackupError(f"{bucket.endpoint}: {one_line(version.key)}: the answer {ending} of {version.size} bytes")


def is_versioned(bucket: Bucket, deadline: Deadline) -> bool:
    """Return whether a bucket keeps versions of its objects. Raise AltbackupError."""
    told = {_word(part.tag): part.text for part in _tree(_ask(bucket, "GET", "", {"versioning": ""}, deadline), bucket)}
    return told.get("Status") == "Enabled"


def can_lock(bucket: Bucket, deadline: Deadline) -> bool:
    """Return whether a bucket has object lock. Raise AltbackupError."""
    try:
        page = _tree(_ask(bucket, "GET", "", {"object-lock": ""}, deadline), bucket)
    except Refused as error:
        if error.status == _NOT_FOUND and "ObjectLock" in str(error):
            return False
        raise
    return any(_word(part.tag) == "ObjectLockEnabled" and part.text == "Enabled" for part in page)


def _ask(
    bucket: Bucket, method: str, key: str, query: Mapping[str, str], deadline: Deadline, body: bytes = b""
) -> bytes:
    with _answered(bucket, method, key, query, deadline, body) as answer:
        content = answer.read(_MOST + 1)
    if len(content) > _MOST:
        raise AltbackupError(f"{bucket.endpoint}: the answer has more than {_MOST} bytes: see what answers there")
    return content


@contextlib.contextmanager
def _answered(
    bucket: Bucket, method: str, key: str, query: Mapping[str, str], deadline: Deadline, body: bytes = b""
) -> Iterator[http.client.HTTPResponse]:
    """Yield the answer to a request, which is of success. Raise Refused for an error, AltbackupError where there is no answer."""
    url = urlsplit(bucket.endpoint)
    path = "/" + quote("/".join(filter(None, [url.path.strip("/"), bucket.name, key])), safe="/-_.~")
    text = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(query.items()))
    headers = {"host": url.netloc, "x-amz-content-sha256": hashlib.sha256(body).hexdigest() if body else _EMPTY}
    if body:
        headers["content-md5"] = base64.b64encode(_md5(body)).decode()
    what = f"{bucket.endpoint}: {method} of {one_line(key) or bucket.name}"
    connection = _connection(url.scheme, url.hostname or "", url.port, deadline.at_most(bucket.connect_timeout))
    try:
        connection.connect()
        connection.sock.settimeout(deadline.at_most(bucket.timeout))
        with _ended_by(connection.sock, deadline):
            connection.request(
                method, f"{path}?{text}", body or None, sign(bucket, method, path, text, headers, time.time())
            )
            answer = connection.getresponse()
            if answer.status >= 300:
                message = one_line(answer.reason) + _said(answer.read(1 << 16))
                raise Refused(f"{what}: {answer.status} {message}", answer.status)
            yield answer
            deadline.remaining()
    except (OSError, http.client.HTTPException) as error:
        deadline.remaining()
        raise AltbackupError(f"{what}: {one_line(str(error)) or type(error).__name__}") from error
    finally:
        connection.close()


@contextlib.contextmanager
def _ended_by(connected: socket.socket, deadline: Deadline) -> Iterator[None]:
    """End a connection at a deadline: a peer that sends a byte now and then is silent to nobody, and never done."""
    left = deadline.remaining()
    timer = threading.Timer(left or 0.0, _shut, [connected])
    timer.daemon = True
    if left is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _shut(connected: socket.socket) -> None:
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connected, socket.SHUT_RDWR)  # beneath TLS, whose own ending waits for the peer


def _connection(scheme: str, host: str, port: int | None, timeout: float) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, port, timeout=timeout)


def _md5(content: bytes) -> bytes:
    digest = new_hash("md5")
    digest.update(content)
    return bytes(digest.digest())


def _said(content: bytes) -> str:
    """Return code and message from the body of an error, as far as it has them."""
    found = [re.search(rb"<%s>([^<]{1,300})</" % name, content) for name in (b"Code", b"Message")]
    words = [one_line(match[1].decode("utf-8", "replace")) for match in found if match]
    return f" ({': '.join(words)})" if words else ""


def _tree(content: bytes, bucket: Bucket) -> ElementTree.Element:
    try:
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
            raise ElementTree.ParseError("it declares entities")
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError) as error:
        raise AltbackupError(
            f"{bucket.endpoint}: the list of versions of {bucket.name} is no XML: {one_line(str(error))}"
        ) from error


def _version(entry: ElementTree.Element, bucket: Bucket, decode: Callable[[str], str]) -> Version:
    told = {_word(part.tag): part.text or "" for part in entry}
    tag = told.get("ETag", "").strip('"')
    try:
        return Version(
            decode(told["Key"]),
            told.get("VersionId", "null"),
            told.get("IsLatest") == "true",
            _word(entry.tag) == "DeleteMarker",
            int(told.get("Size") or 0),
            tag if re.fullmatch(r"[0-9a-f]{32}", tag) else "",
            told.get("LastModified", ""),
        )
    except (KeyError, ValueError):
        raise AltbackupError(
            f"{bucket.endpoint}: the list of versions of {bucket.name} has an entry without key or size"
        ) from None


def _word(tag: str) -> str:
    return tag.rpartition("}")[2]


def _seconds(text: str) -> float:
    """Return a date as S3 writes it in seconds since 1970, 0 for none."""
    match = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)", text)
    return float(calendar.timegm(time.strptime(f"{match[1]}Z", _DATE))) if match else 0.0
