"""The command ``scope demo``: a local web page on which methods are tried, found by entry points."""

from __future__ import annotations

from collections.abc import Iterator

from scope_core.commands import Command
from scope_core.parts import hookimpl


@hookimpl
def scope_commands() -> Iterator[Command]:
    """The command `scope demo`."""
    yield Command(
        "demo",
        "scope_demo.command:demo",
        "Open a local web page to try methods on your own photographs.",
        examples=(
            "scope demo",
            "scope demo --tower dinov2-small --port 8000",
            "scope demo --model llava-1.5-7b-hf --no-open",
        ),
    )
