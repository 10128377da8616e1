"""Numbers among the arguments of commands."""

from __future__ import annotations

import argparse

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.cli.command_arguments import _number


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("1000", 1000), ("007", 7)])
def test_a_number_is_one_above_0(text: str, number: int) -> None:
    assert _number(text) == number


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "1e3", "²", "٣", "x", " 1", "00"])
def test_what_is_no_number_above_0_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a whole number above 0"):
        _number(text)
