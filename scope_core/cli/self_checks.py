"""The self-checks of ``scope doctor``, run one after another; errors become findings."""

from __future__ import annotations

import importlib.metadata
import re
import time
from collections.abc import Callable
from typing import Any

from scope_core.cli.advice import allows, change
from scope_core.cli.packages import installed, missing_packages
from scope_core.errors import MissingDependencyError, PluginOutputError
from scope_core.registry.entries import Finding
from scope_core.registry.records import Record
from scope_core.registry.registry import Registry


def run_checks(registry: Registry, *, quick: bool, progress: Callable[[int, int], None]) -> list[dict[str, Any]]:
    """One row per finding: ``check``, ``about``, ``state`` (ok, note, failed or left out), ``text``, ``fix``, ``ms``.

    Args:
        registry: Registry of the checks, passed to them.
        quick: True to skip checks that try something.
        progress: Called with (checks done, total checks).
    """
    rows = []
    records = those_to_run(registry, quick=quick)
    for number, record in enumerate(records, 1):
        begin = time.perf_counter()
        found = _run(record, registry)
        ms = round((time.perf_counter() - begin) * 1000)
        rows += [{"check": record.name, "about": record.item.summary, **row, "ms": ms} for row in found]
        progress(number, len(records))
    return rows


def those_to_run(registry: Registry, *, quick: bool) -> list[Record]:
    """The checks: first those that only look, then those that try something, unless ``quick``."""
    found = [record for record in registry.records("check") if not (quick and record.item.tries)]
    return sorted(found, key=lambda record: record.item.tries)


def _run(record: Record, registry: Registry) -> list[dict[str, str]]:
    reason = why_left_out(record)
    if reason:
        return [{"state": "left out", "text": reason, "fix": ""}]
    what = f"check '{record.name}' of {record.origin}"
    try:
        found = list(record.item.load(what)(registry))
        wrong = [item for item in found if not isinstance(item, Finding)]
        if wrong or not found:
            raise PluginOutputError(
                f"{what} has to return at least one Finding; it returned {(wrong or ['none'])[0]!r}"
            )
        return [_row(finding) for finding in found]
    except MissingDependencyError as error:
        return [{"state": "left out", "text": str(error), "fix": ""}]
    except Exception as error:  # third-party code and installed libraries may raise anything
        notes = " ".join(getattr(error, "__notes__", ()))
        text = f"{type(error).__name__}: {error} {notes}".strip()
        fix = f"report it to the authors of {record.origin.distribution}, with the output of `scope doctor --json`"
        return [{"state": "failed", "text": text, "fix": fix}]


def _row(finding: Finding) -> dict[str, str]:
    changes = [change(package, versions, extra="all") for package, versions in finding.versions.items()]
    fix = "; ".join(text for text in (finding.fix, *changes) if text)
    return {"state": "ok" if finding.well else "note", "text": finding.text, "fix": fix}


def why_left_out(record: Record) -> str:
    """The reason why a check cannot run: a package is missing, or older than its distribution requires."""
    missing = missing_packages(record.item.requires)
    if missing:
        return f"not installed: {', '.join(missing)}"
    try:
        asked = importlib.metadata.requires(record.origin.distribution) or ()
    except importlib.metadata.PackageNotFoundError:  # a plugin file of the command line
        asked = ()
    for package in record.item.requires:
        version = installed(package) or ""
        for text in (text.partition(";")[0].strip() for text in asked):
            if re.match(rf"{re.escape(package)}(?![\w.\[-])", text) and not allows(text, version):
                return f"{package} {version} is installed, but this needs {text}"
    return ""
