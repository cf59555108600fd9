"""The exceptions of the kit, and the comparison of failures with the expected ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping

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
