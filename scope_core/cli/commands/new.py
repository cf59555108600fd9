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
from scope_core.cli.insertion import OPTION, Package, package_in, with_hook, with_row
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
    "Box",
    "Example",
    "Field",
    "Image",
    "Literal",
    "Question",
    "Sequence",
    "State",
    "Task",
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
        "scope new plugin acme.flat --kind coverage --into scope-acme",
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
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="PACKAGE",
            help="Folder of a package that exists, e.g. one that this command wrote: add the part to it.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write an installable package with one part, its test by the conformance kit, and a README."""
    wanted = _kind(kind)
    vendor, part = _words(name, installed=into is not None)
    if into is not None:
        if out_dir != Path():
            raise typer.BadParameter("--into names the folder; omit --out", param_hint="'--out'")
        _add(package_in(into), wanted, name, vendor, part, state_of(ctx).registry, json=json)
        return
    folder = out_dir / f"scope-{vendor.replace('_', '-')}"
    if not out_dir.is_dir():
        raise typer.BadParameter(f"folder '{out_dir}' does not exist; create it first", param_hint="'--out'")
    if folder.exists():
        raise typer.BadParameter(
            f"'{folder}' already exists, and is not overwritten; add the part to it with --into '{folder}', or use "
            f"another --out or vendor",
            param_hint="'NAME'",
        )
    files = rendered(wanted, name, vendor, part, state_of(ctx).registry)
    with writing(folder):
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    _say(folder, list(files), wanted, json=json)


def _add(package: Package, kind: Kind, name: str, vendor: str, part: str, registry: Registry, *, json: bool) -> None:
    """Add a part to a package: its module, its test, a line in its hook, a row in its README."""
    files = rendered(kind, name, vendor, part, registry, package)
    init = package.file.relative_to(package.folder).as_posix()
    hooks, readme = files.pop(init), package.folder / "README.md"
    files = {path: text for path, text in files.items() if path.endswith(f"{part}.py")}
    taken = [path for path in files if (package.folder / path).exists()]
    if taken:
        raise typer.BadParameter(
            f"'{package.folder / taken[0]}' already exists, and is not overwritten; choose another name",
            param_hint="'NAME'",
        )
    try:
        files[init] = with_hook(package.file.read_text(encoding="utf-8"), kind.hook, hooks)
    except ValueError as error:
        raise typer.BadParameter(
            f"'{package.file}' cannot be changed: {error}. Add this to it by hand:\n{hooks}", param_hint=OPTION
        ) from error
    if readme.is_file():
        row = f"| {kind.name} | `{name}` | `{package.source}/{part}.py` |"
        files["README.md"] = with_row(readme.read_text(encoding="utf-8"), row)
    with writing(package.folder):
        for path, text in files.items():
            (package.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (package.folder / path).write_text(text, encoding="utf-8")
    _say(package.folder, list(files), kind, json=json)


def _say(folder: Path, files: list[str], kind: Kind, *, json: bool) -> None:
    """Print what was written, and the next commands."""
    commands = [f"pip install -e '{folder}[test]'", f"scope list {kind.name}", f"pytest '{folder}'"]
    if json:
        show_json({"folder": str(folder), "files": files, "next": commands})
        return
    for path in files:
        out().print(Text(f"  {folder / path}"), soft_wrap=True)
    out().print(Text("next:", style="bold"))
    for command in commands:
        out().print(Text("  $ ", style="cyan") + Text(command), soft_wrap=True)


def offered() -> dict[str, Kind]:
    """Kinds with a template, by name."""
    return {kind.name: kind for kind in KINDS if _template(f"part_{kind.name}.py") is not None}


def rendered(
    kind: Kind, name: str, vendor: str, part: str, registry: Registry, package: Package | None = None
) -> dict[str, str]:
    """The files of a new package, or of ``package`` if the part were its only one: ``{path in its folder: text}``."""
    about = f"{'an' if kind.noun[0] in 'aeiou' else 'a'} {kind.noun}"
    summary = f"an example of {about}, to be replaced"
    defaults = {k.name: found.name for k in KINDS if (found := registry.default(k.name)) is not None}
    slots = ("saliency", "similarity", "coverage", "combiner")
    module = f"scope_{vendor}" if package is None else package.module
    source = f"src/{module}" if package is None else package.source
    usage = USAGE.get(kind.name, kind.name + ": {name}\nbudget: 64")
    words = {
        "name": name,
        "vendor": vendor,
        "part": part,
        "module": module,
        "distribution": f"scope-{vendor.replace('_', '-')}" if package is None else package.distribution,
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
        "README.md": f"README_{kind.name}.md" if _template(f"README_{kind.name}.md") else "README.md",
        ".gitignore": "gitignore",
        f"{source}/__init__.py": "init.py",
        f"{source}/{part}.py": "part.py",
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


def _words(name: str, *, installed: bool) -> tuple[str, str]:
    """Vendor and part of a name from which a module, a class and a distribution can be named.

    Args:
        name: The part's name.
        installed: True if the vendor's module may be installed, for it gets the part.
    """
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
    if not installed and importlib.util.find_spec(f"scope_{vendor}") is not None:
        raise typer.BadParameter(
            f"a module 'scope_{vendor}' is already installed; add the part to it with --into FOLDER, or use another "
            f"vendor",
            param_hint="'NAME'",
        )
    return vendor, part
