"""``scope bench``: accuracy, speed and serving as commands of one group."""

from __future__ import annotations

import typer

from scope_bench.accuracy import command as accuracy
from scope_bench.serving import command as serving
from scope_bench.speed import command as speed
from scope_core.commands import ScopeGroup, examples

app = typer.Typer(
    cls=ScopeGroup,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    help="Measure the accuracy of methods, their speed, and engines that serve them.",
)


@app.callback()
def bench() -> None:
    """Measure the accuracy of methods, their speed, and engines that serve them."""


app.command(epilog=examples(*accuracy.EXAMPLES))(accuracy.accuracy)
app.command(epilog=examples(*speed.EXAMPLES))(speed.speed)
app.command(epilog=examples(*serving.EXAMPLES))(serving.serve)
