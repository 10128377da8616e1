"""Further options of ssh as secrets: commands and environments among them may hold passwords, in whatever way they are quoted.

They travel to a module as one sealed text, which Ansible can hide everywhere without hiding words that are like them, and
what ssh says of them is shown without them.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .errors import InvalidInput

MASK = "********"
SETTING = "altbackup_ssh_args"
_FLAGS = "46AaCfGgKkMNnqsTtVvXxYy"
_WITH_VALUE = {
    "p": r"\d{1,5}",
    "i": r"[~/][^\s:@=]*",
    "F": r"none|[~/][^\s:@=]*",
    "J": "",
    "l": r"[\w.-]+",
    "b": r"[\w.:-]+",
    "B": r"[\w.-]+",
    **dict.fromkeys("RLDW", r"[\w.:\[\]/*-]+"),
}
"""Letters with a value, and what that is made of unless it is a jump: no secret"""
_HARMLESS = frozenset(
    re.split(
        r"\s+",
        "addressfamily addkeystoagent batchmode bindaddress bindinterface canonicaldomains "
        "canonicalizehostname canonicalizemaxdots casignaturealgorithms checkhostip ciphers "
        "clearallforwardings compression connectionattempts connecttimeout controlmaster controlpath "
        "controlpersist enablesshkeysign escapechar exitonforwardfailure fingerprinthash forwardagent "
        "forwardx11 gatewayports globalknownhostsfile gssapiauthentication gssapidelegatecredentials "
        "hashknownhosts hostbasedauthentication hostkeyalgorithms hostkeyalias hostname identitiesonly "
        "identityagent identityfile ipqos kbdinteractiveauthentication kexalgorithms loglevel macs "
        "nohostauthenticationforlocalhost numberofpasswordprompts passwordauthentication permitlocalcommand "
        "port preferredauthentications proxyjump proxyusefdpass pubkeyacceptedalgorithms pubkeyauthentication "
        "rekeylimit requesttty requiredrsasize serveralivecountmax serveraliveinterval stricthostkeychecking "
        "tag tcpkeepalive updatehostkeys user userknownhostsfile verifyhostkeydns visualhostkey",
    )
)
"""Options whose values are no secrets, and may be shown"""
_OPTION = re.compile(r"\s*([A-Za-z][A-Za-z0-9]*)(\s*=\s*|\s+)(.+?)\s*", re.DOTALL)
_PLAIN = re.compile(r"[\w.,:+%/~\[\]\"' -]+", re.ASCII)
"""What the value of a harmless option is made of: no command, and nobody's password before an @ or in a mapping"""
_JUMPS = re.compile(r"(?:[\w.-]+@)?[\w.\[\]:-]+(?:,(?:[\w.-]+@)?[\w.\[\]:-]+)*", re.ASCII)
_USER_AND_PASSWORD = re.compile(r"[^\s/@,]*:[^\s/@,]*@")
_SEPARATORS = re.compile(r"[\s\"'=:@,;&|<>()`\\]+")
_PROGRAMS = frozenset(
    ("ssh", "sshpass", "nc", "ncat", "netcat", "socat", "connect", "sh", "bash", "exec", "env", "sudo", "openssl")
)
_SECONDS = 10.0
_SHORTEST = 3
"""Parts shorter than this are looked for as words of their own: they would be found in any word"""


def seal(words: Sequence[str]) -> str:
    """Given words, return one text that says the same and is like no other text; empty for none."""
    return base64.b64encode(json.dumps(list(words)).encode()).decode("ascii") if words else ""


def unseal(sealed: str) -> tuple[str, ...]:
    """Given a sealed text, return the words. Raise InvalidInput, which does not show it."""
    if not sealed:
        return ()
    try:
        words = json.loads(base64.b64decode(sealed, validate=True))
    except ValueError:
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InvalidInput("ssh_args is no sealed list of words: it is a list of texts as JSON, in base64")
    return tuple(words)


def shown(words: Sequence[str]) -> list[str]:
    """Given options of ssh, return them with the values of all options masked that are not known to be harmless."""
    return [text for text, _ in _judged(words)]


def secrets_of(words: Sequence[str]) -> list[str]:
    """Given options of ssh, return what is to be hidden of them wherever it may be repeated, the longest first."""
    parts = {part for _, secret in _judged(words) if secret for part in _parts(secret) if not _is_noise(part)}
    return sorted(parts, key=lambda part: (-len(part), part))


def scrub(text: str, words: Sequence[str], known: Iterable[str] = ()) -> str:
    """Given what ssh or rsync said and options of ssh, return it without what may be a secret in these; what is `known` stays."""
    kept = set(known)
    for part in secrets_of(words):
        if part in kept:
            continue
        alone = "" if len(part) >= _SHORTEST else r"[^\W_]"
        pattern = f"(?<!{alone}){re.escape(part)}(?!{alone})" if alone else re.escape(part)
        text = re.sub(
            pattern, MASK, text, flags=re.IGNORECASE
        )  # ssh repeats what it takes for an option in small letters
    return text


def effective_settings(
    command: Sequence[str], destination: str, environment: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return {keyword in small letters: value} that ssh's files and the options of `command` come to, as `ssh -G` prints them.

    A keyword that may stand several times has its first value. The result is empty where ssh does not answer within ten seconds.
    """
    found: dict[str, str] = {}
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            [*command, "-G", destination],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        )
        for line in done.stdout.decode("utf-8", "replace").splitlines():
            name, _, value = line.partition(" ")
            found.setdefault(name, value)
    return found


def _judged(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each word as it may be shown, and what of it may be a secret."""
    waiting = ""
    for word in words:
        if waiting:
            yield _value(waiting, word)
            waiting = ""
        elif word.startswith("-o"):
            if word == "-o":
                waiting = "o"
                yield word, ""
            else:
                text, secret = _value("o", word[2:])
                yield f"-o{text}", secret
        elif re.fullmatch(rf"-[{_FLAGS}]+", word):
            yield word, ""
        elif re.match(r"-[A-Za-z]", word) and word[1] in _WITH_VALUE:
            if len(word) == 2:
                waiting = word[1]
                yield word, ""
            else:
                text, secret = _value(word[1], word[2:])
                yield f"{word[:2]}{text}", secret
        else:
            yield MASK, word


def _value(option: str, value: str) -> tuple[str, str]:
    """Given the letter of an option and its value, return it as it may be shown, and what of it may be a secret."""
    if option != "o":
        pattern = _WITH_VALUE[option]
        fits = re.fullmatch(pattern, value, re.ASCII) if pattern else _JUMPS.fullmatch(value)
        return (value, "") if fits and not _USER_AND_PASSWORD.search(value) else (MASK, value)
    found = _OPTION.fullmatch(value)
    if not found:
        return MASK, value
    name, _, text = found.groups()
    form = _JUMPS if name.lower() == "proxyjump" else _PLAIN
    if name.lower() in _HARMLESS and form.fullmatch(text) and not _USER_AND_PASSWORD.search(text):
        return value, ""
    return f"{value[: found.start(3)]}{MASK}", text


def _parts(secret: str) -> Iterator[str]:
    """Yield a text that holds a secret, and what may stand for the secret in it, however it is quoted and whatever repeats it."""
    for text in {secret, secret.replace("%%", "%")}:
        found = [text.strip(), *text.split(), *_SEPARATORS.split(text)]
        with contextlib.suppress(ValueError):
            found += shlex.split(text)
        found += [part[2:] for part in found if re.match(r"-\w", part)]
        for part in found:
            yield part
            yield _escaped(part, "\\{:03o}")
            yield _escaped(part, "\\#{:03o}")


def _escaped(part: str, form: str) -> str:
    """Return a text as ssh and rsync show it: bytes that are no ASCII in a form of their own."""
    return "".join(chr(byte) if byte < 128 else form.format(byte) for byte in part.encode("utf-8", "surrogateescape"))


def _is_noise(part: str) -> bool:
    """Return whether a part of a command is no secret by itself: an option, a variable of ssh's, a sign, a program."""
    return part.rpartition("/")[2] in _PROGRAMS or re.fullmatch(r"-*\w?|%\w|[\W_]*", part) is not None
