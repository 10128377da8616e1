"""Each attempt is repelled and reported, and everything that was not attacked works."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from attacks import rows
from attacks.conftest import Row
from attacks.ground import ESCAPE, Ground
from attacks.registry import ATTEMPTS, SCENES, Attempt

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0 or os.uname().sysname != "Linux", reason="needs root, and Linux"),
    pytest.mark.root,
]
BY_NAME = {attempt.name: attempt for attempt in ATTEMPTS}
_SHOWN = 200

assert rows.ALL, "the rows are registered when they are imported"


def slug(scene: str) -> str:
    """Return the name of a scene for -k."""
    return scene.replace(" ", "_").replace("-", "_")


def _params() -> list[object]:
    return [
        pytest.param(
            attempt.name, id=f"{slug(attempt.scene)}:{attempt.name}", marks=[] if attempt.quick else [pytest.mark.full]
        )
        for attempt in ATTEMPTS
    ]


@pytest.mark.parametrize("name", _params())
def test_attempt_is_repelled_and_said(
    name: str, played: Callable[[str], Ground], add_row: Callable[[Row], None]
) -> None:
    attempt = BY_NAME[name]
    try:
        ground = played(attempt.scene)
    except RuntimeError as error:
        add_row(_row(attempt, str(error), "", "NO"))
        raise
    touched = ground.seen.get(name, [])
    told = [f"its content stands in {place}" for place in ground.told.get(name, [])]
    wrong = [*touched, *told, *attempt.judge(ground, name)]
    happened = attempt.happened(ground, name) if attempt.happened else _happened(ground, name)
    look = "; ".join([*touched, *told]) or "nothing outside read, written, renamed or removed"
    add_row(_row(attempt, happened, look, "NO" if wrong else "repelled"))
    assert not wrong, "\n".join([*wrong, "said was:", *ground.about(name)[:6]])


def _row(attempt: Attempt, happened: str, look: str, verdict: str) -> Row:
    against = f"{attempt.stage}: {' '.join(attempt.kinds)}"
    return Row(attempt.role, against, attempt.tried, happened, look[: 2 * _SHOWN], verdict)


def _happened(ground: Ground, name: str) -> str:
    codes = ", ".join(f"{playbook} {run.rc}" for playbook, run, _ in ground.runs)
    words = ground.about(name)
    said = printable(words[0][:_SHOWN]) if words else "nothing was said of it"
    return f"exit {codes}: {said}"


def printable(text: str) -> str:
    """Return a text without characters that steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


@pytest.mark.full
@pytest.mark.parametrize("scene", [pytest.param(name, id=slug(name)) for name in SCENES])
def test_what_nobody_attacked_goes_on(
    scene: str, played: Callable[[str], Ground], add_row: Callable[[Row], None]
) -> None:
    ground = played(scene)
    wrong = [*ground.seen.get("", []), *SCENES[scene].rest(ground)]
    wrong += [
        f"{playbook}.yml: the terminal was sent an escape sequence of the attacker's"
        for playbook, run, _ in ground.runs
        if ESCAPE in run.stdout
    ]
    add_row(
        Row(
            "all",
            f"scene {scene}",
            "what nobody attacked, and what all share",
            "; ".join(wrong)[:_SHOWN] or "went on",
            "good copies are there",
            "NO" if wrong else "repelled",
        )
    )
    assert not wrong, "\n".join(wrong)
