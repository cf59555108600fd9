"""Budgets of a benchmark: token counts, shares of the tokens, and each method's own."""

from __future__ import annotations

from collections.abc import Sequence

from scope_core.cli.methods import amount

Keep = int | str
"""A number of tokens, a share such as ``"25%"``, or `OWN`."""
OWN = "own"
"""The budget that each method's spec has."""


def budgets(texts: Sequence[str], default: Sequence[int]) -> list[Keep]:
    """Budgets as typed, in order and each once: counts, then shares, the largest first, then the methods' own.

    Raises:
        typer.BadParameter: a text is no budget.
    """
    found: list[Keep] = [OWN if text == OWN else amount(text, least=1) for text in texts] or list(default)
    return ordered(found)


def ordered(keeps: Sequence[Keep]) -> list[Keep]:
    """Each budget once: counts, then shares, the largest first, then the methods' own."""
    return sorted(set(keeps), key=lambda keep: (isinstance(keep, str), keep == OWN, -number(keep)))


def number(keep: Keep) -> float:
    """A count, a share in percent, or 0 for the methods' own."""
    return 0.0 if keep == OWN else float(str(keep).removesuffix("%"))


def tokens(keep: Keep, total: int) -> int:
    """The number of tokens that a count or a share keeps of ``total``."""
    return round(total * number(keep) / 100) if isinstance(keep, str) else keep


def in_words(keep: Keep) -> str:
    """A budget in a title: "64 tokens", "25% of the tokens", "their own budgets"."""
    if keep == OWN:
        return "their own budgets"
    return f"{keep} of the tokens" if isinstance(keep, str) else f"{keep} tokens"
