"""A check that tokens have places in a grid."""

from __future__ import annotations

from typing import Any

from scope_core import TokensError, VisualTokens


def check_places(part: Any, tokens: VisualTokens, instead: str) -> None:
    """Refuse valid tokens without a row and a column.

    Args:
        part: The part that reads them.
        tokens: The tokens.
        instead: What to use without places, e.g. ``"the partition 'chunks'"``.

    Raises:
        TokensError: a valid token has no place in a grid.
    """
    off = ((tokens.row < 0) | (tokens.col < 0)) & tokens.valid
    if bool(off.any()):
        group, token = (int(i) for i in off.nonzero()[0])
        raise TokensError(
            f"{part.kind} {part} needs places in a grid, but {tokens.name_of(group, token)} has none; pass "
            f"grid=(rows, columns), or use {instead}"
        )
