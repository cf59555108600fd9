"""Numbers of a spec as the fractions that their authors meant."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

DIGITS = 9
"""Digits after the point up to which a number is what it is written as."""
DENOMINATOR = 10**6
"""Largest denominator of the quotient that a number of more digits is taken for."""


@lru_cache(maxsize=64)  # parts ask for the same share in each call, and for each group
def fraction(number: float) -> Fraction:
    """The fraction that ``number`` stands for: 0.29 is 29/100, and ``1 / 3`` is a third.

    In floating point 0.29 * 100 is less than 29, and the digits of ``1 / 3`` are less than a third, so rounding down
    would lose a token.
    """
    written = Fraction(str(number))
    if written.denominator <= 10**DIGITS:
        return written
    quotient = Fraction(number).limit_denominator(DENOMINATOR)
    return quotient if float(quotient) == number else written
