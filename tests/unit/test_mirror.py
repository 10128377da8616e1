"""Each file of logic has a test file of its name, in the folder below tests/unit that mirrors its own."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("library", "plugins", "roles", "tools")
ELSEWHERE = {
    "plugins/action/*.py": "each is the same six lines: test_action_plugins.py tests all of them",
    "plugins/doc_fragments/*.py": "documentation alone, which test_collection_tree.py reads with ansible-doc",
    "plugins/plugin_utils/cli/__main__.py": "starts main, as the tests of bin/altbackup do",
    "tools/demo*.py": "make demo, which tests/integration/test_demo.py runs",
    "tools/build.py": "make build, without which make sanity and make importer have nothing to examine",
    "tools/importer.py": "make importer, which fails with it",
    "tools/sanity.py": "make sanity, which fails with it",
    "tools/get_pip.py": "make sanity, which installs its packages by it",
}
"""{files whose tests lie elsewhere: where, or why there are none}"""


def untested(root: Path) -> list[str]:
    """Return the Python files of a checkout without a test file of their name, those of ELSEWHERE among them."""
    files = [path.relative_to(root) for folder in PRODUCT for path in (root / folder).rglob("*.py")]
    return sorted(
        str(path) for path in files if not (root / "tests/unit" / path.parent / f"test_{path.name}").is_file()
    )


def test_each_file_of_logic_has_a_test_file_of_its_name() -> None:
    assert [path for path in untested(ROOT) if not any(map(Path(path).match, ELSEWHERE))] == []


@pytest.mark.parametrize("pattern", ELSEWHERE)
def test_no_exception_outlives_its_reason(pattern: str) -> None:
    assert any(Path(path).match(pattern) for path in untested(ROOT)), pattern


def test_a_file_without_a_test_file_is_found(tmp_path: Path) -> None:
    for path in ("plugins/a/b.py", "plugins/a/c.py", "tests/unit/plugins/a/test_b.py", "tests/unit/test_c.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert untested(tmp_path) == ["plugins/a/c.py"]
