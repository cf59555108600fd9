"""The packages that scope-core can use: the version of each, what it is for, and how to get it or do without."""

from __future__ import annotations

import platform
from typing import Any

from scope_core.cli.advice import change, numbers
from scope_core.cli.packages import extra_packages, extras_within, installed, requirement
from scope_core.registry.kinds import HOME
from scope_core.version import __version__

DEVELOPMENT = ("kit", "test", "all")
"""Extras that nobody misses who only uses the package."""


def package_rows() -> list[dict[str, Any]]:
    """One row per package: ``package``, ``version``, ``needs``, ``for``, ``state`` (ok, missing, too old), ``fix``."""
    wanted: dict[str, dict[str, Any]] = {}
    for extra, needs in extra_packages(HOME).items():
        for package, least in needs if extra not in DEVELOPMENT else ():
            row = wanted.setdefault(
                package, {"package": package, "version": installed(package), "needs": least, "for": []}
            )
            row["for"].append(extra or "always")
    for row in wanted.values():
        old = bool(row["version"] and row["needs"]) and numbers(row["version"]) < numbers(row["needs"])
        row["state"] = "too old" if old else "ok" if row["version"] else "missing"
        row["fix"] = _fix(row)
    old_for = {extra: row["fix"] for row in wanted.values() if row["state"] == "too old" for extra in row["for"]}
    for row in wanted.values():
        blocked = [_blocked(extra, old_for) for extra in row["for"]]
        if row["state"] == "missing" and all(blocked):  # it would come with a change that is not advised
            row["fix"] = blocked[0]
    ours = {"python": platform.python_version(), HOME: __version__}
    always = {"needs": "", "for": ["always"], "state": "ok", "fix": ""}
    return [*({"package": name, "version": version, **always} for name, version in ours.items()), *wanted.values()]


def judge(rows: list[dict[str, Any]], problems: list[dict[str, str]], notes: list[str]) -> None:
    """Add to the problems what is always needed, and to the notes what the host has in an older version."""
    for row in rows:
        if row["state"] == "ok":
            continue
        old = row["state"] == "too old"
        given = f"{row['package']}: " + (f"{row['version']} is older than {row['needs']}" if old else "not installed")
        if "always" in row["for"]:
            problems.append({"what": given, "fix": row["fix"]})
        elif old:  # the host's own version: what needs a later one is left out
            notes.append(f"{given}, which {', '.join(row['for'])} would need: {row['fix']}")


def _fix(row: dict[str, Any]) -> str:
    if row["state"] == "too old":
        extra = "" if "always" in row["for"] else row["for"][0]
        return change(row["package"], [row["needs"]], extra=extra, least=True)
    return "" if row["state"] == "ok" else f"pip install '{requirement(HOME, row['package'])}'"


def _blocked(extra: str, old_for: dict[str, str]) -> str:
    """What to do instead where an extra, or one that it is made of, needs a later version of what is here."""
    inner = extras_within(HOME, extra) if extra != "always" else set()
    return next((fix for name, fix in old_for.items() if name in inner), "")
