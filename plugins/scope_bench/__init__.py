"""Commands that measure methods, ``scope bench`` (accuracy, speed) and ``scope compare``, found by entry points."""

from __future__ import annotations

from collections.abc import Iterator

from scope_core.commands import Command
from scope_core.parts import hookimpl


@hookimpl
def scope_commands() -> Iterator[Command]:
    """Commands that measure."""
    yield Command(
        "compare",
        "scope_bench.compare.command:compare",
        "Compare methods on images: what each keeps, covers and costs, as a table and a figure.",
        examples=(
            "scope compare demo:astronaut demo:coffee --keep 64 --out compared.png",
            "scope compare *.jpg --specs a.yaml,scope@64,random@64 --json",
            "scope compare demo:astronaut --specs scope,divprune --at vision --out compared",
        ),
    )
    yield Command(
        "bench",
        "scope_bench.group:app",
        "Measure the accuracy of methods, and their speed.",
    )
