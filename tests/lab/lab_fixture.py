"""Fixtures of labs for any test: `three = lab_fixture(["a", "b", "c"], sources=["a"])`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import pytest

from .lab import Lab
from .network import why_not

needs_namespaces = pytest.mark.skipif(why_not() is not None, reason=f"no network namespaces: {why_not()}")


def lab_fixture(
    names: Sequence[str], *, scope: Literal["function", "class", "module", "session"] = "module", **options: Any
) -> Callable[..., Iterator[Lab]]:
    """Return a fixture that is a running lab of the given hosts; `options` are those of Lab."""

    @pytest.fixture(scope=scope)
    def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
        with Lab(names, tmp_path_factory.mktemp("lab"), **options) as running:
            yield running

    return lab


@pytest.fixture
def make_lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Return a function that takes the arguments of Lab without its folder; its labs end with the test."""
    with ExitStack() as stack:
        yield lambda names, **options: stack.enter_context(Lab(names, tmp_path, **options))
