"""What nodes run is read by Python 3.8, whatever Python the tests have: there built-in and abstract types take no parameters."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
NODE_CODE = sorted(
    path for folder in ("library", "plugins/module_utils") for path in (REPOSITORY / folder).rglob("*.py")
)
BUILT_IN = {"tuple", "list", "dict", "set", "frozenset", "type"}
OTHERS = ("collections", "collections.abc", "contextlib", "os", "queue", "re", "subprocess")
"""Modules of types that take parameters since Python 3.9"""
QUALIFIED = {
    f"{module}.{name}" for module in OTHERS for name in dir(importlib.import_module(module)) if name[:1].isupper()
}


def too_new(source: str) -> Iterator[str]:
    """Yield the types with parameters, outside of annotations, that Python 3.8 does not know."""
    named = {*BUILT_IN, *QUALIFIED}
    unread: set[ast.AST] = set()
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module in OTHERS and not node.level:
            named.update(entry.asname or entry.name for entry in node.names)
        elif isinstance(node, ast.Subscript) and isinstance(node.value, (ast.Name, ast.Attribute)):
            found.append(node)
        for field in ("annotation", "returns"):
            annotation = getattr(node, field, None)
            if isinstance(annotation, ast.AST):
                unread.update(ast.walk(annotation))
    for node in found:
        if isinstance(node.ctx, ast.Load) and node not in unread and ast.unparse(node.value) in named:
            yield ast.unparse(node)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        pytest.param(
            "from collections.abc import Mapping\nX = Mapping[str, int]", ["Mapping[str, int]"], id="an alias"
        ),
        pytest.param("X = Union[tuple[str, int], OSError]", ["tuple[str, int]"], id="inside another one"),
        pytest.param("import subprocess\nX = subprocess.Popen[bytes]", ["subprocess.Popen[bytes]"], id="by its module"),
        pytest.param("class X(dict[str, int]): pass", ["dict[str, int]"], id="a base class"),
        pytest.param("def f(x: dict[str, int]) -> list[int]: ...", [], id="annotations are not evaluated"),
        pytest.param("x: tuple[int, ...] = ()", [], id="nor are those of variables"),
        pytest.param("from typing import Mapping, Tuple\nX = Tuple[str, Mapping[str, str]]", [], id="those of typing"),
        pytest.param("x = values[0]", [], id="an element"),
    ],
)
def test_types_that_python_3_8_does_not_know_are_found(source: str, found: list[str]) -> None:
    assert list(too_new(source)) == found


def test_nothing_that_nodes_run_fails_on_python_3_8_as_it_is_imported() -> None:
    found = {
        str(path.relative_to(REPOSITORY)): types
        for path in NODE_CODE
        if (types := list(too_new(path.read_text(encoding="utf-8"))))
    }
    assert len(NODE_CODE) > 100
    assert found == {}
