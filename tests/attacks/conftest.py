"""Runs each scene once for its selected attempts, and prints the table of all attempts."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from attacks import cells, rows
from attacks.ground import Ground, a_ground, make_templates
from attacks.registry import ATTEMPTS, SCENES
from xdist.scheduler import LoadScopeScheduling

assert rows.ALL, "the rows are registered when they are imported"
COLUMNS = {"who": 7, "against": 26, "tried": 46, "happened": 52, "look": 34, "verdict": 8}
KEY = "attempt"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    who: str
    against: str
    tried: str
    happened: str
    look: str
    verdict: str


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small thing of every kind, made once."""
    return make_templates(tmp_path_factory.mktemp("templates") / "live")


@pytest.fixture(scope="session")
def played(request: pytest.FixtureRequest, templates: Path) -> Iterator[Callable[[str], Ground]]:
    """Yield a function that returns the ground of a scene after its runs, with its selected attempts."""
    grounds: dict[str, Ground | BaseException] = {}
    asked = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    with ExitStack() as stack:

        def play(name: str) -> Ground:
            if name not in grounds:
                try:
                    grounds[name] = _play(name, stack.enter_context(a_ground(templates)), asked)
                except Exception as error:  # noqa: BLE001 (each row of the scene reports it)
                    grounds[name] = error
            ground = grounds[name]
            if isinstance(ground, BaseException):
                raise RuntimeError(f"scene {name} could not be played: {ground!r}") from ground
            return ground

        yield play


def _play(name: str, ground: Ground, asked: set[object]) -> Ground:
    scene = SCENES[name]
    scene.prepare(ground)
    for attempt in ATTEMPTS:
        if attempt.scene == name and attempt.name in asked:
            attempt.lay(ground, attempt.name)
    ground.witness.begin()
    scene.play(ground)
    ground.finish()
    return ground


@pytest.fixture
def add_row(request: pytest.FixtureRequest) -> Callable[[Row], None]:
    """Return a function that puts a row into the table."""
    return lambda row: request.node.user_properties.append((KEY, asdict(row)))


class Scenes(LoadScopeScheduling):  # type: ignore[misc]
    """Lets one worker run a scene for all its attempts, and any other file: an attempt's first parameter begins with its scene."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        return test.rstrip("]").partition("[")[2].partition(":")[0] if file.endswith("test_attacks.py") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scenes | None:
    """Return the scheduler of `make attacks`."""
    return Scenes(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    found: list[dict[str, str]] = []
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            if Path(report.location[0]).parts[:2] == ("tests", "attacks"):
                found += [value for key, value in getattr(report, "user_properties", []) if key == KEY]
    if found:
        terminalreporter.section("attacks")
        for line in table(found):
            terminalreporter.write_line(line)
        if len(found) > len(ATTEMPTS) // 2:
            terminalreporter.write_line("")
            for line in cells.table():
                terminalreporter.write_line(line)
        repelled = sum(row["verdict"] == "repelled" for row in found)
        terminalreporter.write_line(f"{repelled} of {len(found)} repelled and said")


def table(rows: Sequence[dict[str, str]]) -> Iterator[str]:
    """Yield the lines of a table of rows; long texts are wrapped."""
    yield " | ".join(name.ljust(width) for name, width in COLUMNS.items()).rstrip()
    for row in sorted(rows, key=lambda row: (row["who"], row["against"], row["tried"])):
        yield "-+-".join("-" * width for width in COLUMNS.values())
        cells = [textwrap.wrap(row[name], width)[:8] or [""] for name, width in COLUMNS.items()]
        for number in range(max(map(len, cells))):
            parts = [cell[number] if number < len(cell) else "" for cell in cells]
            yield " | ".join(part.ljust(width) for part, width in zip(parts, COLUMNS.values(), strict=True)).rstrip()
