"""Installed and missing packages."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re


def missing_packages(requires: tuple[str, ...]) -> list[str]:
    """The packages in ``requires`` that are not installed; ``name[extra]`` stands for the packages of the extra."""
    missing = []
    for requirement in requires:
        name, extra = re.match(r"([A-Za-z0-9._-]+)(?:\[([^]]*)\])?", requirement).groups()  # type: ignore[union-attr]
        inner = extra_packages(name).get(extra, []) if extra else []
        if not installed(name) or not all(installed(package) for package, _ in inner):
            missing.append(requirement)
    return missing


def installed(package: str) -> str | None:
    """The installed version of a distribution, without importing it.

    A distribution of another name that installs the module of this name counts too, such as a build for CPUs.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        module = package.replace("-", "_")
        if importlib.util.find_spec(module) is None:  # reading all distributions is slow
            return None
        givers = importlib.metadata.packages_distributions().get(module, [])
        return importlib.metadata.version(givers[0]) if givers else None


def extra_packages(distribution: str) -> dict[str, list[tuple[str, str]]]:
    """The packages of each extra: ``{extra: [(package, lowest version)]}``; the key ``""`` has those always needed."""
    found: dict[str, list[tuple[str, str]]] = {}
    for text in importlib.metadata.requires(distribution) or () if installed(distribution) else ():
        match = re.match(r"([A-Za-z0-9._-]+)(\[[^]]*\])?\s*(?:\(?>=\s*([0-9.]+))?[^;]*(;.*)?$", text)
        if match is None or match[2]:  # an extra made of other extras
            continue
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", match[4] or "")
        found.setdefault(extra[1] if extra else "", []).append((match[1], match[3] or ""))
    return found


def extras_within(distribution: str, extra: str) -> set[str]:
    """An extra and those that it includes: ``{"demo", "hf", "fast"}``."""
    found, todo = set[str](), [extra]
    while todo:
        outer = todo.pop()
        found.add(outer)
        for text in importlib.metadata.requires(distribution) or ():
            match = re.match(rf"{re.escape(distribution)}\[([^]]*)\].*extra\s*==\s*['\"]{re.escape(outer)}['\"]", text)
            todo += [inner for inner in match[1].split(",") if inner not in found] if match else []
    return found


def requirement(distribution: str, package: str) -> str:
    """The requirement of ``distribution`` for ``package``, in pip's form: ``"timm>=1.0"``."""
    found = (text.partition(";")[0].strip() for text in importlib.metadata.requires(distribution) or ())
    return next((text for text in found if re.match(rf"{re.escape(package)}(?![\w.-])", text)), package)
