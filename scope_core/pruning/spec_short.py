"""Short forms: ``scope@64`` and ``decoder[8]``."""

from __future__ import annotations

import re
from typing import Any

from scope_core.errors import SpecError, did_you_mean, quoted
from scope_core.registry.lookup import PartLookup

_SHORT = re.compile(r"(?P<recipe>.+?)(?:@(?P<number>-?\d+(?:\.\d+)?)(?P<percent>%?))?")
_DECODER = re.compile(r"decoder\[(?P<layer>[1-9]\d*)\]")


POINTS = ("vision", "projected")
"""The interception points before the language model that adapters without a vendor's name declare."""


def decoder_layer(at: str) -> int | None:
    """``8`` for ``"decoder[8]"``; None for points outside the language model.

    Raises:
        SpecError: ``at`` starts with ``decoder`` but is not of the form ``decoder[k]``.
    """
    match = _DECODER.fullmatch(at)
    if match is not None:
        return int(match["layer"])
    if at.startswith("decoder"):
        raise SpecError(f"{quoted(at)} is not an interception point; write decoder[k] with k from 1, e.g. decoder[2]")
    return None


def check_point(at: str) -> None:
    """Refuse a text that can be no interception point of any adapter.

    Raises:
        SpecError: lists the points; the points of third-party adapters have a dot in their name, as their parts do.
    """
    if decoder_layer(at) is None and at not in POINTS and "." not in at:
        raise SpecError(
            f"{quoted(at)} is not an interception point{did_you_mean(at, [*POINTS, 'decoder'])}. Points: "
            f"{', '.join(POINTS)}, decoder[k] with k from 1; points of third-party adapters have a dot: acme.pooled"
        )


def from_short(text: str) -> dict[str, Any]:
    """``{"recipe": "scope", "budget": 64}`` for ``"scope@64"``; a percentage becomes a share.

    Raises:
        SpecError: ``text`` is not of the form ``recipe``, ``recipe@64`` or ``recipe@25%``.
    """
    match = _SHORT.fullmatch(text.strip())
    if match is None:
        raise SpecError(
            f"{quoted(text)} is not a spec; write a recipe's name and a budget, e.g. 'scope@64' or 'scope@25%'"
        )
    data: dict[str, Any] = {"recipe": match["recipe"]}
    if match["number"] is not None:
        number = match["number"]
        if match["percent"]:
            data["budget"] = float(number) / 100
        else:
            data["budget"] = float(number) if "." in number else int(number)
    return data


def wrong_amount(given: str, registry: PartLookup) -> str:
    """The message for a list of specs, or a known recipe with a malformed budget (``scope@6,4``); else empty."""
    several = [piece.strip() for piece in given.split(",")]
    if len(several) > 1 and all(re.split(r"@(?=\d)", piece)[0] in registry.names("recipe") for piece in several):
        return f"these are {len(several)} specs; give one, and others to compare it with separately (--compare)"
    recipe, _, amount = given.rpartition("@")
    if not registry.has("recipe", recipe) or (amount and not re.search(r"[\d%]", amount)):
        return ""
    problem = f"{quoted(amount)} is not a budget" if amount else "the budget is missing"
    return f"{problem}: write a count or a percentage after @, e.g. {recipe}@64 or {recipe}@25%"


def short_hint(given: str, registry: PartLookup) -> str:
    """The hint for a table that holds ``recipe: scope@64``: write recipe and budget separately."""
    try:
        short = from_short(given)
    except SpecError:
        return ""
    if "budget" not in short or not registry.has("recipe", short["recipe"]):
        return ""
    return f". In a table, write them separately: `recipe: {short['recipe']}` and `budget: {short['budget']}`"
