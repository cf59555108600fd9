"""Commands that scope_adapters adds to `scope`."""

from __future__ import annotations

from collections.abc import Iterator

from scope_core.commands import Command
from scope_core.parts import hookimpl


@hookimpl
def scope_commands() -> Iterator[Command]:
    """The commands `scope serve` and `scope page`."""
    yield Command(
        "serve",
        "scope_adapters.serving.command:serve",
        "Serve a model over HTTP with vLLM, its visual tokens pruned.",
        examples=(
            "scope serve llava-hf/llava-1.5-7b-hf --spec scope@64",
            "scope serve llava-hf/llava-1.5-7b-hf --spec pruner.yaml --per-request -- --port 9000",
            "scope serve llava-hf/llava-v1.6-mistral-7b-hf --spec scope@320 --print",
        ),
    )
    yield Command(
        "page",
        "scope_adapters.pages.command:page",
        "Write a method's page as Markdown: what it rewards, parts, variants, models, figures.",
        examples=("scope page visionzip --image kept.png --out visionzip.md",),
    )
