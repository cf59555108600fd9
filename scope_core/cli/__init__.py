"""The command line: ``scope``, or ``python -m scope_core``.

Results go to stdout (tables, or pure JSON with ``--json``), everything else to stderr. Exit codes:

====  =======================================================================
0     ok
1     a check found something wrong (``validate``, ``doctor``)
2     wrong usage: an unknown command or option, a missing argument
3     a spec, budget, signal, plugin or adapter is wrong; nothing was done
4     weights or an image could not be fetched, opened or written
70    an unexpected error: a bug here or in a plugin (``--debug`` shows where)
130   interrupted (Ctrl-C)
143   terminated (SIGTERM)
====  =======================================================================

Parts, recipes and models come from the registry; none is named here. Torch and transformers are imported only by the
commands that need them.
"""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from scope_core.cli.commands import calibrate, doctor, models, new, plan, run, select, show, spec
from scope_core.cli.commands import list as listing
from scope_core.cli.commands import photos as photographs
from scope_core.cli.output import complain
from scope_core.cli.shell import Code, MainGroup, examples, of_the_machine
from scope_core.cli.state import State
from scope_core.version import __version__

_EXIT = (
    "[bold]Exit codes[/bold]  0 ok, 1 a check failed, 2 wrong usage, 3 a spec, budget, signal or plugin is wrong, "
    "4 something could not be fetched, opened or written, 70 unexpected error, 130 interrupted, "
    "143 terminated"
)

app = typer.Typer(
    cls=MainGroup,
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"scope-core {__version__}")
        raise typer.Exit


@app.callback(
    epilog=examples(
        "scope list",
        "scope explain scope@64",
        "scope select photo.jpg --spec scope@64 --compare random --out kept.png",
    )
    + "\n\n"
    + _EXIT
)
def entry(
    ctx: typer.Context,
    plugin: Annotated[
        list[Path] | None,
        typer.Option(
            help="Also load this single-file plugin, by running it.",
            metavar="FILE.py",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Prune the visual tokens of multimodal LLMs with swappable methods."""
    ctx.obj = ctx.obj or State(tuple(plugin or ()), debug)


_COMMANDS = (
    ("list", listing.list_parts, (
        "scope list", "scope list saliency", "scope list recipe 'vis*' '*prune*' --exclude '*@*'",
        "scope list recipe --json",
    )),
    ("show", show.show, ("scope show cls_attention", "scope show recipe:random", "scope show scope --json")),
    ("explain", spec.explain, ("scope explain scope@64", "scope explain scope@25% --out pruner.yaml")),
    ("schema", spec.schema, ("scope schema --out scope.schema.json",)),
    ("validate", spec.validate, ("scope validate pruner.yaml", "scope validate specs/*.yaml --json")),
    ("plan", plan.plan, (
        "scope plan scope@64 --tokens 576,576", "scope plan scope@640 --tiles 576+576+576",
        "scope plan scope@video@25% --video 16x14x14",
        "scope plan scope@25% --model llava-1.5-7b --size 336x672",
    )),
    ("select", select.select, (
        "scope select photo.jpg --spec scope@64 --out kept.png",
        "scope select demo:astronaut --compare top_k_attention,random --out kept.png",
        "scope select clip.mp4 --at vision --spec vidcom2@10% --out kept.mp4",
        "scope select *.jpg --spec pruner.yaml --compare scope@64 --keep 32 --order --json",
    )),
    ("run", run.run, (
        'scope run photo.jpg -q "What is in the image?" --model llava-1.5-7b --spec scope@64',
        'scope run demo:coffee -q "What is this?" --keep 128 --json',
        'scope run clip.mp4 -q "What happens?" --model qwen2-vl-2b --spec vidcom2@10% --out kept.mp4',
    )),
    ("calibrate", calibrate.calibrate, (
        "scope calibrate *.jpg --tower dinov2-small --out prior.json",
        "scope calibrate demo:coffee demo:rocket --kind heads --out heads.json",
        'scope calibrate *.jpg --model llava-1.5-7b -q "Describe the image." --kind heads '
        "--saliency head_relevance --out heads.json",
    )),
    ("photos", photographs.photos, ("scope photos",)),
    ("doctor", doctor.doctor, ("scope doctor", "scope doctor --quick", "scope doctor --json")),
)  # fmt: skip

for _name, _function, _examples in _COMMANDS:
    app.command(_name, epilog=examples(*_examples))(_function)
app.add_typer(models.app, name="models")
app.add_typer(new.app, name="new")


def main() -> None:
    """The entry point of ``scope``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # terminals without Greek letters show a placeholder
    try:
        app(prog_name="scope")
    except OSError as error:  # from `--help` and `--version`, which no command handles
        if not (trouble := of_the_machine(error)):
            raise
        with contextlib.suppress(OSError):  # the standard error may be full as well
            complain(trouble)
        raise SystemExit(Code.FILES) from error
