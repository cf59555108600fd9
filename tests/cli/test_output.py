"""The progress bar: what it shows on a terminal, and elsewhere."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from scope_core.cli import output


def shown(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, log: bool = False) -> str:
    file = io.StringIO()
    monkeypatch.setattr(output, "err", lambda: Console(file=file, force_terminal=terminal, width=100))
    with output.progress("measuring", log=log) as tell:
        for step in range(41):
            tell(step, 40)
    return file.getvalue()


def test_a_terminal_sees_the_share_done_and_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, terminal=True)
    for wanted in ("measuring", "━", "40/40", "0:00:00"):
        assert wanted in text


def test_the_time_that_remains_is_told_where_a_step_takes_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    file, now = io.StringIO(), [0.0]
    monkeypatch.setattr(
        output, "err", lambda: Console(file=file, force_terminal=True, width=100, get_time=lambda: now[0])
    )
    with output.progress("measuring") as tell:
        for step in range(4):
            tell(step, 9)
            now[0] += 120
    assert "0:12:00" in file.getvalue()


def test_elsewhere_nothing_is_written_or_a_line_at_every_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, terminal=False) == ""
    lines = shown(monkeypatch, terminal=False, log=True).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "note: measuring: 40 of 40"


def test_what_is_printed_meanwhile_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress("measuring"):
        sys.stdout.write("a library talks")
    assert capsys.readouterr() == ("", "a library talks")
