"""Numbers of a spec as the fractions that their authors meant."""

from __future__ import annotations

from fractions import Fraction

DENOMINATOR = 10**6
"""Largest denominator of a fraction that a number is taken for."""


def fraction(number: float) -> Fraction:
    """The fraction that ``number`` stands for: 0.29 is 29/100, and ``1 / 3`` is a third; else its decimal digits.

    In floating point 0.29 * 100 is less than 29, and the digits of ``1 / 3`` are less than a third, so rounding down
    would lose a token.
    """
    simple = Fraction(number).limit_denominator(DENOMINATOR)
    return simple if float(simple) == number else Fraction(str(number))
