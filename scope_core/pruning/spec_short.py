"""Short forms: ``scope@64`` and ``decoder[8]``."""

from __future__ import annotations

import re
from typing import Any

from scope_core.errors import SpecError
from scope_core.registry.lookup import PartLookup

_SHORT = re.compile(r"(?P<recipe>.+?)(?:@(?P<number>-?\d+(?:\.\d+)?)(?P<percent>%?))?")
_DECODER = re.compile(r"decoder\[(?P<layer>[1-9]\d*)\]")


def decoder_layer(at: str) -> int | None:
    """``8`` for ``"decoder[8]"``; None for points outside the language model.

    Raises:
        SpecError: it begins like such a point and is none.
    """
    match = _DECODER.fullmatch(at)
    if match is not None:
        return int(match["layer"])
    if at.startswith("decoder"):
        raise SpecError(f"'{at}' is no interception point; write decoder[k] with k from 1, e.g. decoder[2]")
    return None


def from_short(text: str) -> dict[str, Any]:
    """``{"recipe": "scope", "budget": 64}`` for ``"scope@64"``; a percentage becomes a share.

    Raises:
        SpecError: the text has another form.
    """
    match = _SHORT.fullmatch(text.strip())
    if match is None:
        raise SpecError(f"'{text}' is no spec; write a recipe's name and a budget, e.g. 'scope@64' or 'scope@25%'")
    data: dict[str, Any] = {"recipe": match["recipe"]}
    if match["number"] is not None:
        number = match["number"]
        if match["percent"]:
            data["budget"] = float(number) / 100
        else:
            data["budget"] = float(number) if "." in number else int(number)
    return data


def wrong_amount(given: str, registry: PartLookup) -> str:
    """What to say of ``scope@6,4``: a known recipe, and after the @ what is meant as an amount and is none."""
    recipe, _, amount = given.rpartition("@")
    if not registry.has("recipe", recipe) or (amount and not re.search(r"[\d%]", amount)):
        return ""
    what = f"'{amount}' is no budget" if amount else "a budget is missing"
    return f"{what}: after @ stands a count or a percentage, e.g. {recipe}@64 or {recipe}@25%"


def short_hint(given: str, registry: PartLookup) -> str:
    """What to write in a table in place of ``recipe: scope@64``."""
    try:
        short = from_short(given)
    except SpecError:
        return ""
    if "budget" not in short or not registry.has("recipe", short["recipe"]):
        return ""
    return f". In a table the two are apart: `recipe: {short['recipe']}` and `budget: {short['budget']}`"
