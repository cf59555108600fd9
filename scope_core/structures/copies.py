"""Copies of frozen dataclasses that keep what was computed of them."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from typing import Any, TypeVar

T = TypeVar("T")


def changed(whole: T, follows: Mapping[str, Set[str]], fields: Mapping[str, Any]) -> T:
    """A copy with other fields, as by `dataclasses.replace`; what was computed of the rest stays known.

    Args:
        whole: A frozen dataclass with cached properties.
        follows: The fields that each cached property follows from.
        fields: The new values, by field.
    """
    made, known = replace(whole, **fields), whole.__dict__  # type: ignore[type-var]  # any dataclass
    new = {name for name, value in fields.items() if value is not known[name]}
    made.__dict__.update({name: known[name] for name, of in follows.items() if name in known and not of & new})
    return made
