"""``scope bench``: accuracy and speed as two commands of one group."""

from __future__ import annotations

import typer

from scope_bench.accuracy import command as accuracy
from scope_bench.speed import command as speed
from scope_core.commands import ScopeGroup, examples

app = typer.Typer(
    cls=ScopeGroup,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    help="Measure the accuracy of methods, and their speed.",
)


@app.callback()
def bench() -> None:
    """Measure the accuracy of methods, and their speed."""


app.command(epilog=examples(*accuracy.EXAMPLES))(accuracy.accuracy)
app.command(epilog=examples(*speed.EXAMPLES))(speed.speed)
