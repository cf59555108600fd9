"""The versions that scope-core was tested with, compared to the installed ones.

``scripts/matrix`` writes ``tested.json``: one row for each environment in which the tests were run.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scope_core.commands import Finding

PACKAGES = ("torch", "transformers", "timm")


def rows() -> dict[str, dict[str, Any]]:
    """The rows of the matrix by name, each with versions, ``passed``, ``failed``, ``skipped`` and ``date``."""
    found: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("tested.json").read_text(encoding="utf-8"))
    return found


def tested(what: str) -> tuple[str, ...]:
    """The versions of a package, or of Python, in rows without failures, oldest first."""
    return tuple(sorted({row[what] for row in rows().values() if not row["failed"]}, key=_numbers))


def versions(_registry: Any) -> Iterator[Finding]:
    """One finding for each version outside the tested range, and one for all others together."""
    inside = []
    for what in ("python", *PACKAGES):
        have, known = _installed(what), tested(what)
        if not have or not known:
            continue
        span = known[0] if len(known) == 1 else f"{known[0]} to {known[-1]}"
        older, newer = _numbers(have) < _numbers(known[0]), _numbers(have) > _numbers(known[-1])
        if what == "python":  # its third number does not matter
            older, newer = older and not _same_minor(have, known[0]), newer and not _same_minor(have, known[-1])
        if not older and not newer:
            inside.append(f"{what} {have} (tested: {span})")
            continue
        text = f"{what} {have} is {'older' if older else 'newer'} than the tested versions, {span}; see the trials"
        if what == "python":
            yield Finding(text, well=False, fix=f"an environment of its own with Python {_minor(known[-1])}")
        else:
            yield Finding(text, well=False, versions={what: known})
    if inside:
        yield Finding(", ".join(inside))
    elif not tested("python"):
        yield Finding("no environment is recorded in which all tests passed", well=False)


def _installed(what: str) -> str:
    if what == "python":
        return platform.python_version()
    try:
        return importlib.metadata.version(what)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3])


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _same_minor(one: str, other: str) -> bool:
    return _minor(one) == _minor(other)
