"""``scope page``: a method's page as Markdown, for any recipe."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from scope_adapters.pages.facts import hosts
from scope_adapters.pages.method import method_page
from scope_core import SpecError
from scope_core.commands import check_out, note, state_of, working, write_text


def page(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A recipe; its page has its variants, too.")],
    image: Annotated[
        str,
        typer.Option(
            metavar="PATH", help="Image of what it keeps, as `scope select --out` draws it.", show_default=False
        ),
    ] = "",
    results: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Figures: results.json of `scope bench accuracy --out`.", show_default=False),
    ] = None,
    out_file: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write to this file.", show_default=False)
    ] = None,
) -> None:
    """Write a method's page as Markdown: what it rewards, parts, variants, models, figures, differences."""
    check_out(out_file)
    registry = state_of(ctx).registry
    registry.get("recipe", name)  # before anything slow
    found = None if results is None else _read(results)
    families = None
    if importlib.util.find_spec("transformers") is None:
        note("without transformers the page does not say on which models the method runs")
    else:
        with working("asking every adapter"):
            families = hosts(registry)
    text = method_page(name, registry=registry, hosts=families, image=image, results=found)
    if out_file is None:
        typer.echo(text, nl=False)
    else:
        write_text(out_file, text)


def _read(path: Path) -> dict[str, Any]:
    """The results of a benchmark.

    Raises:
        SpecError: the file cannot be read, or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(f"--results {path}: {error}") from error
    wanted = {"runs", "budgets", "questions", "examples", "level", "model", "task"}
    if not isinstance(found, dict) or not wanted <= set(found):
        raise SpecError(f"--results {path}: these are no results of `scope bench accuracy --out DIR`")
    return found
