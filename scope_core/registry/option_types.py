"""Types of options: a number, a boolean or text is taken only from a value of that kind.

pydantic's own rules turn ``true`` into 1, ``"0.5"`` into 0.5 and ``1`` into true. These would be silent changes of what
a spec says, so `Spec` refuses them for every option of every part, third-party parts included. As in JSON Schema, a
whole number may be given for a number with a point, and 64.0 for a whole number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from pydantic_core import PydanticCustomError
from pydantic_core import core_schema as cs

PERCENT = re.compile(r"((?:0|[1-9]\d*)(?:\.\d+)?)%")
"""A percentage, which is taken for a share where a kind of part has a bare number as its short form."""
_INNER = (
    *("schema", "fields", "items_schema", "keys_schema", "values_schema", "choices", "steps"),
    *("lax_schema", "strict_schema", "json_schema", "python_schema", "extras_schema"),
)


def exact(node: Any) -> Any:
    """A copy of a pydantic core schema, or of a list or table of them, that converts no value into another kind.

    Options declared with ``strict=False`` keep pydantic's rules; nested models keep their own rules unless they are
    `Spec`s.
    """
    if isinstance(node, (list, tuple)):
        return type(node)(exact(item) for item in node)
    if not isinstance(node, Mapping):
        return node
    kind = node.get("type")
    if not isinstance(kind, str):
        return {key: exact(item) for key, item in node.items()}
    copy = {key: exact(value) if key in _INNER else value for key, value in node.items()}
    if kind == "literal" and not any(isinstance(value, bool) for value in node["expected"]):
        return cs.no_info_before_validator_function(_no_boolean, copy)  # True equals 1
    if kind in _CHECKS and node.get("strict") is not False:
        return cs.no_info_before_validator_function(_CHECKS[kind], copy)
    return copy


def _whole_number(value: Any) -> Any:
    return _number(value, "a whole number")


def _number(value: Any, wanted: str = "a number") -> Any:
    """The number as Python's own; NumPy's numbers are numbers too."""
    if isinstance(value, Real) and not isinstance(value, bool):
        if isinstance(value, Integral) and int(value).bit_length() > 63:
            raise _wrong(f"{wanted} of at most 64 bits")
        return int(value) if isinstance(value, Integral) else float(value)
    share = as_share(value) if isinstance(value, str) else None
    hint = "; write it without quotes" if isinstance(value, str) and _reads_as_number(value) else ""
    hint = f"; write {share:g}" if share is not None else hint
    raise _wrong(wanted, hint or ("; write its .item()" if hasattr(value, "item") else ""))


def as_share(text: str) -> float | None:
    """``0.25`` for ``"25%"``; None for any other text."""
    found = PERCENT.fullmatch(text.strip())
    return float(found[1]) / 100 if found else None


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _wrong("true or false")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    raise _wrong("text", _YAML if isinstance(value, bool) else "")


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise _wrong("one of the option's values", _YAML)
    return value


_YAML = "; YAML reads an unquoted on, off, yes or no as true or false"
_CHECKS = {"int": _whole_number, "float": _number, "bool": _boolean, "str": _text}


def _wrong(wanted: str, hint: str = "") -> PydanticCustomError:
    return PydanticCustomError("scope_wrong_type", "{text}", {"text": f"Input should be {wanted}{hint}"})
