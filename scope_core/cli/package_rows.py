"""The packages that scope-core can use: version, purpose, and the command to install each."""

from __future__ import annotations

import platform
from typing import Any

from scope_core.cli.advice import change, numbers
from scope_core.cli.packages import extra_packages, extras_within, installed, requirement
from scope_core.registry.kinds import HOME
from scope_core.version import __version__

DEVELOPMENT = ("kit", "test", "all")
"""Extras that are not needed to use the package."""


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
        if row["state"] == "missing" and all(blocked):  # installing it would change another package
            row["fix"] = blocked[0]
    ours = {"python": platform.python_version(), HOME: __version__}
    always = {"needs": "", "for": ["always"], "state": "ok", "fix": ""}
    return [*({"package": name, "version": version, **always} for name, version in ours.items()), *wanted.values()]


def judge(rows: list[dict[str, Any]], problems: list[dict[str, str]], notes: list[str]) -> None:
    """Add missing required packages to the problems, and too old optional ones to the notes."""
    for row in rows:
        if row["state"] == "ok":
            continue
        old = row["state"] == "too old"
        given = f"{row['package']}: " + (f"{row['version']} is older than {row['needs']}" if old else "not installed")
        if "always" in row["for"]:
            problems.append({"what": given, "fix": row["fix"]})
        elif old:  # may be pinned by other code: only features that need a later version are missing
            notes.append(f"{given}, which {', '.join(row['for'])} needs: {row['fix']}")


def _fix(row: dict[str, Any]) -> str:
    if row["state"] == "too old":
        extra = "" if "always" in row["for"] else row["for"][0]
        return change(row["package"], [row["needs"]], extra=extra, least=True)
    return "" if row["state"] == "ok" else f"pip install '{requirement(HOME, row['package'])}'"


def _blocked(extra: str, old_for: dict[str, str]) -> str:
    """The fix to apply first if an extra, or one that it includes, needs a later version of an installed package."""
    inner = extras_within(HOME, extra) if extra != "always" else set()
    return next((fix for name, fix in old_for.items() if name in inner), "")
