"""Tables for pandas, where it is installed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from scope_core.errors import MissingDependencyError


def frame(rows: Iterable[Mapping[str, Any]]) -> Any:
    """A ``pandas.DataFrame`` with a row for each mapping.

    Raises:
        MissingDependencyError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingDependencyError(
            "to_frame() needs pandas: pip install 'scope-core[plot]'; to_dict() gives the same without it"
        ) from error
    return pd.DataFrame([dict(row) for row in rows])


def flattened(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested table in one level: ``{"combiner.name": "product", "combiner.alpha": 0.5}``; lists stay as they are."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found.update(flattened(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = value
    return found
