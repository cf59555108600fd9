"""Advice on versions: commands that change a package without breaking another one in this environment."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections.abc import Sequence

from scope_core.cli.packages import extra_packages, installed
from scope_core.registry.kinds import HOME

APART = "python -m venv scope && scope/bin/pip install"
"""The command for an environment of its own."""

_CLAUSE = re.compile(r"(===|==|!=|<=|>=|~=|<|>)\s*([^\s,;()]+)")


def numbers(version: str) -> tuple[int, ...]:
    """A version's first four numbers, e.g. ``(2, 14, 1, 0)`` for ``"2.14.1+cu130"``."""
    parts = [re.match(r"\d*", part) for part in version.partition("+")[0].split(".")[:4]]
    found = [int(part[0] or 0) if part else 0 for part in parts]
    return (*found, *[0] * (4 - len(found)))


def allows(specifiers: str, version: str) -> bool:
    """True if a requirement such as ``"transformers>=4.40,<5; extra == 'x'"`` is met by ``version``."""
    return all(_holds(sign, bound, numbers(version)) for sign, bound in _CLAUSE.findall(specifiers.partition(";")[0]))


def _holds(sign: str, bound: str, have: tuple[int, ...]) -> bool:
    length = bound.count(".") + 1
    if bound.endswith(".*"):
        same = have[: length - 1] == numbers(bound)[: length - 1]
        return same if sign == "==" else not same
    limit = numbers(bound)
    if sign == "~=":
        return have >= limit and have[: length - 1] == limit[: length - 1]
    return {
        "==": have == limit, "===": have == limit, "!=": have != limit,
        "<=": have <= limit, ">=": have >= limit, "<": have < limit, ">": have > limit,
    }[sign]  # fmt: skip


def holders(package: str) -> list[tuple[str, str]]:
    """Installed distributions that require certain versions of ``package``: ``[("llava 1.2.2", "package==4.37.2")]``.

    Requirements of extras and of scope-core do not count.
    """
    found = set()
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"] or ""
        for text in distribution.requires or () if name and _plain(name) != HOME else ():
            wanted, _, marker = text.partition(";")
            called = re.match(r"[A-Za-z0-9._-]+", wanted)
            if called and _plain(called[0]) == _plain(package) and "extra" not in marker and _CLAUSE.search(wanted):
                found.add((f"{name} {distribution.version}", wanted.strip().replace(" ", "")))
    return sorted(found)


def change(package: str, versions: Sequence[str], *, extra: str = "", least: bool = False) -> str:
    """The command that changes ``package`` to one of ``versions``, or advice if that would break another package.

    Args:
        package: Package to change.
        versions: Suitable versions, the best last.
        extra: Extra of scope-core that needs it, for the advice.
        least: True if later versions than the chosen one are suitable, too.
    """
    holding = holders(package)
    fitting = [version for version in versions if all(allows(text, version) for _, text in holding)]
    apart = f"{APART} '{HOME}[{extra}]'" if extra else f"{APART} {HOME}"
    if not fitting:
        name, text = next((h for h in holding if not any(allows(h[1], version) for version in versions)), holding[0])
        return f"do not change {package} here: {name} needs {text}. Use an environment of its own: {apart}"
    clauses = [f"{sign}{bound}" for _, text in holding for sign, bound in _CLAUSE.findall(text) if sign[0] != ">"]
    wanted = ",".join([f"{'>=' if least else '=='}{fitting[-1]}", *(dict.fromkeys(clauses) if least else ())])
    command = f"pip install '{package}{wanted}'"
    return (
        f"{command}, or an environment of its own if your own code needs another version: {apart}" if extra else command
    )


def install(package: str) -> str:
    """The command that installs ``package`` (``"timm"``, ``"scope-core[hf]"``), or advice if it would break another.

    An extra may need later versions of installed packages; then the advice is that of `change`.
    """
    name, _, extra = package.rstrip("]").partition("[")
    for inner, least in extra_packages(name).get(extra, ()) if extra else ():
        version = installed(inner)
        if version and numbers(version) < numbers(least):
            return change(inner, [least], extra=extra, least=True)
    return f"pip install '{package}'"


def not_installed(error: Exception) -> str:
    """A message with the package to install, if ``error`` is about a missing one; empty for other errors."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if not package or importlib.util.find_spec(package) is not None:
        return ""
    for extra, needed in extra_packages(HOME).items():
        if extra and _plain(package) in {_plain(name) for name, _ in needed}:
            return f"{package} is not installed: {install(f'{HOME}[{extra}]')}"
    return (
        f"the Python package {package} is not installed; `scope doctor` lists missing packages and how to install them"
    )


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
