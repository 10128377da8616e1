"""The mail as a page: everything put into it is escaped, and nothing of it may be missing."""

from __future__ import annotations

import jinja2
import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.mail import page


def test_what_is_missing_is_an_error_and_no_gap() -> None:
    with pytest.raises(jinja2.UndefinedError):
        page.render()


def test_a_python_without_jinja_has_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "find_spec", lambda name: None)
    assert page.render() == ""
