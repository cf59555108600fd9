"""The exceptions of the kit, and the comparison of failures with the expected ones."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Collection, Mapping
from pathlib import Path

from scope_core.errors import ScopeError


class PropertyViolation(Exception):  # noqa: N818 - a verdict on a part or an adapter, not an error of the kit
    """A property does not hold; the text says how."""


class ConformanceError(ScopeError, AssertionError):
    """A part or an adapter lacks a property, or has one that is listed as an expected failure.

    Attributes:
        failures: ``{property: how it is violated}``.
        outdated: ``{property: reason}`` of the expected failures that no longer fail.
    """

    def __init__(
        self,
        what: str,
        failures: Mapping[str, str],
        about: Mapping[str, str],
        outdated: Mapping[str, str] | None = None,
    ) -> None:
        self.failures, self.outdated = dict(failures), dict(outdated or {})
        lines = []
        if self.failures:
            lines.append(f"{what} breaks {len(self.failures)} of {len(about)} properties:")
            lines += [f"  {name} ({about[name]}): {how}" for name, how in self.failures.items()]
        if self.outdated:
            lines.append(f"{what} has properties that expected_failures lists; remove them from it:")
            lines += [f"  {name}: the reason given was: {reason}" for name, reason in self.outdated.items()]
        super().__init__("\n".join(lines))


def refuse_unexpected(
    what: str,
    failures: Mapping[str, str],
    passed: Collection[str],
    expected: Mapping[str, str],
    about: Mapping[str, str],
) -> None:
    """Compare the outcome with the expected failures.

    Args:
        what: The part or the adapter, for messages.
        failures: ``{property: how it is violated}``.
        passed: Properties that hold.
        expected: ``{property: reason}``.
        about: ``{property: description}``.

    Raises:
        ConformanceError: a property fails that is not in ``expected``, or one passes that is.
    """
    unexpected = {name: how for name, how in failures.items() if name not in expected}
    outdated = {name: reason for name, reason in expected.items() if name in passed}
    if unexpected or outdated:
        raise ConformanceError(what, unexpected, about, outdated)


def raised(error: Exception, author: type | None = None) -> str:
    """``"raised KeyError: 'x' (at acme.py:12, in score)"``.

    Args:
        error: The exception.
        author: The class that is tested: its own lines, or else those of its base classes, are blamed before others.
    """
    home = str(Path(__file__).parent)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(home)]
    mine = [frame for frame in frames if not {"torch", "transformers"} & set(Path(frame.filename).parts)]
    for kind in () if author is None else author.__mro__[:-1]:
        own = [frame for frame in mine if frame.filename == _file_of(kind)]
        if own:
            mine = own
            break
    where = f" (at {Path(mine[-1].filename).name}:{mine[-1].lineno}, in {mine[-1].name})" if mine else ""
    return f"raised {type(error).__name__}: {' '.join(str(error).split())[:300]}{where}"


def defined_at(kind: type) -> str:
    """``"Mine, acme.py:12"``: where a class is defined; its name alone if there is no source."""
    try:
        return f"{kind.__name__}, {Path(_file_of(kind)).name}:{inspect.getsourcelines(kind)[1]}"
    except (OSError, TypeError):
        return kind.__name__


def _file_of(kind: type) -> str:
    try:
        return inspect.getfile(kind)
    except (OSError, TypeError):
        return ""
