"""Patterns of names: ``vis*`` fits all names that begin so, ``?`` any character, ``[ab]`` one of these."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from scope_core.errors import UnknownNameError, choices, did_you_mean
from scope_core.registry.kinds import kind_named


def is_pattern(text: str) -> bool:
    """True if the text may stand for several names."""
    return any(mark in text for mark in "*?[")


def matching(names: Iterable[str], patterns: str | Iterable[str], exclude: str | Iterable[str] = ()) -> list[str]:
    """The names that fit one of the patterns and none of ``exclude``, in their order."""
    wanted = [patterns] if isinstance(patterns, str) else list(patterns)
    unwanted = [exclude] if isinstance(exclude, str) else list(exclude)
    return [name for name in names if _fits(name, wanted) and not _fits(name, unwanted)]


def check_patterns(kind: str, names: Iterable[str], patterns: Iterable[str]) -> None:
    """Raise if a pattern fits none of the names.

    Raises:
        UnknownNameError: names the pattern and the nearest name.
    """
    known = list(names)
    for pattern in patterns:
        if not matching(known, pattern):
            near = did_you_mean(pattern.strip("*?"), known, cutoff=0.4)
            raise UnknownNameError(f"no {kind_named(kind).noun} matches '{pattern}'{near}. Installed: {choices(known)}")


def _fits(name: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
