"""``scope new``: starter packages, written from ``templates/``."""

from __future__ import annotations

import builtins
import importlib.util
import keyword
import re
from importlib import resources
from pathlib import Path
from string import Template
from typing import Annotated

import typer
from rich.text import Text

import scope_core
from scope_core import parts
from scope_core.cli.output import out, show_json, writing
from scope_core.cli.shell import ScopeGroup, examples
from scope_core.cli.state import state_of
from scope_core.errors import did_you_mean, listed
from scope_core.registry.kinds import KINDS, Kind
from scope_core.registry.registry import Registry
from scope_core.version import __version__

app = typer.Typer(
    cls=ScopeGroup,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    help="Write a starter package.",
)

TAKEN = {
    *dir(scope_core),
    *dir(parts),
    *vars(builtins),
    "Annotated",
    "Field",
    "Literal",
    "Sequence",
    "State",
    "Tensor",
}
"""Names that the templates use or may use."""
EXTRAS = {"adapter": "[hf]"}
"""Extras of scope-core that packages with a part of a kind need."""
WORD = re.compile(r"[a-z][a-z0-9_]*")
USAGE = {
    "recipe": "recipe: {name}\nbudget: 64",
    "selector": "selector: {{name: {name}, choices: [{selector}]}}\nbudget: 64",
    "budget": "budget: {{name: {name}}}",
    "statistic": "budget: {{name: measured, statistic: {name}}}",
    "constraint": "constraints: [{name}]\nbudget: 64",
    "position": "positions: {name}\nbudget: 64",
    "adapter": "recipe: scope\nbudget: 64\nadapter: {name}",
}
"""Example specs, for kinds whose slot has another name than the kind."""


@app.callback()
def new() -> None:
    """Write a starter package."""


@app.command(
    epilog=examples(
        "scope new plugin acme.peak",
        "scope new plugin lab.saturated --kind coverage",
        "scope new plugin team.my_vlm --kind adapter",
        "scope new plugin org.x --json",
    )
)
def plugin(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The part's name, VENDOR.PART in lower case, e.g. acme.peak.")
    ],
    kind: Annotated[str, typer.Option(metavar="KIND", help="Kind of part.")] = "saliency",
    out_dir: Annotated[
        Path,
        typer.Option("--out", metavar="FOLDER", help="Folder that gets the package's folder.", show_default="here"),
    ] = Path(),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write an installable package with one part, its test by the conformance kit, and a README."""
    wanted = _kind(kind)
    vendor, part = _words(name)
    folder = out_dir / f"scope-{vendor.replace('_', '-')}"
    if not out_dir.is_dir():
        raise typer.BadParameter(f"folder '{out_dir}' does not exist; create it first", param_hint="'--out'")
    if folder.exists():
        raise typer.BadParameter(
            f"'{folder}' already exists, and is not overwritten; add the part to it by hand, or use another --out or "
            f"vendor",
            param_hint="'NAME'",
        )
    files = rendered(wanted, name, vendor, part, state_of(ctx).registry)
    with writing(folder):
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    commands = [f"pip install -e '{folder}[test]'", f"scope list {wanted.name}", f"pytest '{folder}'"]
    if json:
        show_json({"folder": str(folder), "files": list(files), "next": commands})
        return
    for path in files:
        out().print(Text(f"  {folder / path}"), soft_wrap=True)
    out().print(Text("next:", style="bold"))
    for command in commands:
        out().print(Text("  $ ", style="cyan") + Text(command), soft_wrap=True)


def offered() -> dict[str, Kind]:
    """Kinds with a template, by name."""
    return {kind.name: kind for kind in KINDS if _template(f"part_{kind.name}.py") is not None}


def rendered(kind: Kind, name: str, vendor: str, part: str, registry: Registry) -> dict[str, str]:
    """The files of the package: ``{path in its folder: text}``."""
    about = f"{'an' if kind.noun[0] in 'aeiou' else 'a'} {kind.noun}"
    summary = f"an example of {about}, to be replaced"
    defaults = {k.name: found.name for k in KINDS if (found := registry.default(k.name)) is not None}
    slots = ("saliency", "similarity", "coverage", "combiner")
    module, usage = f"scope_{vendor}", USAGE.get(kind.name, kind.name + ": {name}\nbudget: 64")
    words = {
        "name": name,
        "vendor": vendor,
        "part": part,
        "module": module,
        "distribution": f"scope-{vendor.replace('_', '-')}",
        "cls": _class(part),
        "kind": kind.name,
        "noun": kind.noun,
        "hook": kind.hook,
        "summary": summary,
        "summary_cap": summary.capitalize(),
        "about": about.capitalize(),
        "version": __version__,
        "extra": EXTRAS.get(kind.name, ""),
        "slots": "\n".join(f'        "{slot}": "{defaults[slot]}",' for slot in slots if slot in defaults),
        "usage": usage.format(name=name, selector=defaults.get("selector", "")),
    }
    sources = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        ".gitignore": "gitignore",
        f"src/{module}/__init__.py": "init.py",
        f"src/{module}/{part}.py": "part.py",
        f"tests/test_{part}.py": "test.py",
    }
    texts = {path: _template(s.replace(".py", f"_{kind.name}.py")) or _template(s) for path, s in sources.items()}
    return {path: Template(text or "").substitute(words) for path, text in texts.items()}


def _class(part: str) -> str:
    return "".join(word.capitalize() for word in part.split("_"))


def _template(name: str) -> str | None:
    """The text of a template; None if there is none of this name."""
    file = resources.files("scope_core.cli").joinpath("templates").joinpath("plugin").joinpath(f"{name}.txt")
    return file.read_text(encoding="utf-8") if file.is_file() else None


def _kind(kind: str) -> Kind:
    known = offered()
    if kind not in known:
        raise typer.BadParameter(
            f"there is no template for '{kind}'{did_you_mean(kind, known)}. Kinds: {listed(known)}. The hooks "
            f"reference in the documentation has complete examples of the others",
            param_hint="'--kind'",
        )
    return known[kind]


def _words(name: str) -> tuple[str, str]:
    """Vendor and part of a name from which a module, a class and a distribution can be named."""
    vendor, dot, part = name.partition(".")
    near = re.sub(r"[^a-z0-9_.]+", "_", name.lower()).strip("_.")
    first, _, rest = near.partition(".")
    near = f"{first}.{rest.replace('.', '_')}" if rest else f"acme.{first or 'peak'}"
    for word in (vendor, part):
        if not dot or not WORD.fullmatch(word) or word.endswith("_") or "__" in word:
            raise typer.BadParameter(
                f"'{name}' is not a valid name for a part: give VENDOR.PART, each of a-z, 0-9 and single _, beginning "
                f"with a letter, e.g. {near}",
                param_hint="'NAME'",
            )
    if keyword.iskeyword(part) or {_class(part), f"{_class(part)}Spec"} & TAKEN:
        raise typer.BadParameter(
            f"'{part}' cannot be used: the class '{_class(part)}' or its spec would have the name of something in "
            f"Python or scope-core; choose another, e.g. {vendor}.my_{part}",
            param_hint="'NAME'",
        )
    if importlib.util.find_spec(f"scope_{vendor}") is not None:
        raise typer.BadParameter(
            f"a module 'scope_{vendor}' is already installed; add the part to it by hand, or use another vendor",
            param_hint="'NAME'",
        )
    return vendor, part
