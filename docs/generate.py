"""Writes the generated parts of the documentation from the code.

    python docs/generate.py            # bring them up to date
    python docs/generate.py --check    # exit with 1 and the names of the pages, if any is stale
    python docs/generate.py --pictures # draw docs/pictures anew (needs the dinov2-small tower)
    python docs/generate.py --pictures scope visionzip     # the images of these methods alone

The function of that name in `SECTIONS` writes the text between ``<!-- generated: NAME -->`` and ``<!-- end -->``.
``docs/api.md`` and the pages of docs/methods (see method_pages.py) are generated as a whole.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import inspect
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import scope_core as scope
from scope_adapters.pages.facts import Method, hosts
from scope_adapters.pages.markdown import paper_links, table
from scope_core import errors
from scope_core.registry.kinds import HOME, KINDS
from scope_core.registry.specs import slots_of
from scope_core.structures import signals

PICTURES = ("astronaut", "chelsea", "coffee")
DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS))
import method_pages  # noqa: E402

sys.path.pop(0)
MARK = re.compile(r"(?P<open><!-- generated: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)


def main() -> int:
    """Write or check every page; the exit status."""
    if sys.argv[1:2] == ["--pictures"]:
        return method_pages.draw(sys.argv[2:]) if sys.argv[2:] else draw()
    check = "--check" in sys.argv[1:]
    stale = []
    for page, new in pages().items():
        old = page.read_text(encoding="utf-8") if page.exists() else ""
        if old == new:
            continue
        stale.append(page)
        if check:
            diff = difflib.unified_diff(old.split("\n"), new.split("\n"), str(page), "generated", lineterm="", n=1)
            print("\n".join(list(diff)[:40]))
        else:
            page.write_text(new, encoding="utf-8")
            print(f"written: {page}")
    if check and stale:
        print(f"{len(stale)} pages are stale; run: python docs/generate.py")
    return 1 if check and stale else 0


def draw() -> int:
    """Draw the figures of kept tokens by the command line, with 256 colours; the exit status."""
    from PIL import Image

    select = ("--tower", "dinov2-small", "--spec", "scope@64", "--compare", "top_k_attention,random")
    drawn = {name: ("select", f"demo:{name}", *select) for name in PICTURES}
    page = (DOCS / "compare.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^\$ scope (compare .*) --out compared.png$", page, re.MULTILINE)
    for name, words in {**drawn, "compared": line.split()}.items():
        path = DOCS / "pictures" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        done = subprocess.run([sys.executable, "-m", "scope_core", *words, "--out", str(path)], check=False)
        if done.returncode:
            return done.returncode
        with Image.open(path) as picture:
            few = picture.convert("RGB").quantize(256, kmeans=1)
        few.save(path, optimize=True)
        print(f"written: {path}, {path.stat().st_size // 1000} kB")
    return method_pages.draw()


def pages() -> dict[Path, str]:
    """Every page with generated parts, as it should be."""
    texts = {DOCS / "api.md": api(), **pages_of_methods()}
    for page in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        if page not in texts and MARK.search(text):
            texts[page] = MARK.sub(lambda m: f"{m['open']}{section(m['name']).strip()}\n{m['end']}", text)
    return texts


@functools.cache
def pages_of_methods() -> dict[Path, str]:
    """The pages of the methods, and their index."""
    return method_pages.pages(hosts(scope.default_registry(), adapter_rows()))


def section(name: str) -> str:
    """The text of one generated part of a page."""
    of, _, method = name.partition("-")
    return differences(method) if of == "differences" else SECTIONS[name]()


def records(kind: str) -> list[Any]:
    """The records of a kind that scope-core itself ships; other installed plugins are left out."""
    return [record for record in scope.default_registry().records(kind) if record.origin.distribution == HOME]


def kinds() -> str:
    """Table of the kinds of part."""
    return table(
        ("kind", "is", "interface", "hook"),
        (
            (
                f"`{kind.name}`",
                kind.about,
                f"`{kind.base.partition(':')[2] or kind.item.partition(':')[2]}`",
                f"`{kind.hook}`",
            )
            for kind in KINDS
        ),
    )


def signal_families() -> str:
    """Table of the known signals, from the module's own table."""
    rows = re.findall(r"^``([^`]+)``\s+((?:[A-Z] )*[A-Z])\s{2,}(.+)$", inspect.getdoc(signals) or "", re.MULTILINE)
    if {name.partition("[")[0] for name, _, _ in rows} != set(signals.FAMILIES):
        raise SystemExit("the table in scope_core.structures.signals does not list FAMILIES")
    return table(
        ("signal", "shape", "meaning"),
        ((f"`{name}`", f"`({', '.join(axes.split())})`", text) for name, axes, text in rows),
    )


def methods() -> str:
    """A list for the README: a line for every method, with its page, its paper and a clause."""
    text = ""
    for method in method_pages.built_in():
        links = [f"[{method.name}](docs/methods/{method.name}.md)", *(f"({p})" for p in paper_links(method.item.paper))]
        item = f"- {' '.join(links)}: {method.item.summary}"
        text += "\n".join(textwrap.wrap(item, 120, subsequent_indent="  ", break_on_hyphens=False)) + "\n"
    return text


def differences(name: str) -> str:
    """Where a method differs from its release, as its page has it; links from the folder of the documentation."""
    return Method(name, scope.default_registry()).differences()


def parts() -> str:
    """Every built-in part with its options and the methods that use it, by kind."""
    used: dict[tuple[str, str], list[str]] = {}
    for method in method_pages.built_in():
        for pair in dict.fromkeys((p.kind, p.spec.name) for stage in method.pruner.stages for p in stage.walk()):
            used.setdefault(pair, []).append(f"[{method.name}](methods/{method.name}.md)")
    text = ""
    for kind in KINDS:
        if not kind.base or not records(kind.name):
            continue
        text += f"\n### {kind.name}\n\n{kind.about[0].upper()}{kind.about[1:]}.\n\n"
        text += table(
            ("name", "what it does", "source", "in the methods"),
            ((*part_row(kind.name, record), links(used, kind.name, record.name)) for record in records(kind.name)),
        )
        options = [row for record in records(kind.name) for row in option_rows(record)]
        text += ("\n" + table(("part", "option", "values", "default", "meaning"), options)) if options else ""
    return text


def links(used: dict[tuple[str, str], list[str]], kind: str, name: str) -> str:
    """The methods that use a part."""
    found = used.get((kind, name), [])
    return ", ".join(found) if len(found) <= 8 else f"{len(found)} of them"


def part_row(kind: str, record: Any) -> tuple[str, str, str]:
    """Name, summary with the signals it reads, and paper of one part."""
    default = " (default)" if record.item.default else ""
    try:
        read = needs(scope.default_registry().build_named(kind, record.name).needs)
    except ValueError:  # it cannot be built without options
        read = ""
    about = f"{record.item.summary}; reads {read}" if read else record.item.summary
    return f"`{record.name}`{default}", about, record.item.paper


def needs(names: Iterable[str]) -> str:
    """Signals as code, comma separated."""
    return ", ".join(f"`{name}`" for name in sorted(names))


def option_rows(record: Any) -> Iterable[tuple[str, ...]]:
    """One row per option of a part."""
    for name, field in record.spec.model_fields.items():
        if name == "name":
            continue
        slot = slots_of(record.spec).get(name)
        if slot is not None and field.is_required():
            default = scope.default_registry().default(slot.kind)
            shown = f"`{default.name}`" if default is not None and not slot.many else "required"
        else:
            shown = "required" if field.is_required() else f"`{plain(field.default)}`"
        yield f"`{record.name}`", f"`{name}`", values(field, slot), shown, " ".join((field.description or "").split())


def values(field: Any, slot: Any) -> str:
    """The allowed values of an option, in words."""
    if slot is not None:
        return f"{'a list of ' if slot.many else 'any '}{slot.kind}{' parts' if slot.many else ''}"
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{plain(value)}`" for value in get_args(field.annotation))
    known = {int: "whole number", float: "number", bool: "`true`, `false`", str: "text", str | None: "text"}
    kinds = {getattr(kind, "__origin__", kind) for kind in get_args(field.annotation)}
    optional = type(None) in kinds and len(kinds) == 2 and kinds & set(known)
    words = f"{known[next(iter(kinds & set(known)))]}, or null" if optional else known.get(field.annotation)
    if words is None:
        words = "list of numbers" if "float" in str(field.annotation) else "list of [row, column]"
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    limits = [f"{signs[key]} {big(value)}" for meta in field.metadata for key, value in bounds(meta)]
    return ", ".join([words, *limits])


def bounds(meta: Any) -> Iterable[tuple[str, Any]]:
    """The limits in one piece of a field's metadata."""
    for key in ("gt", "ge", "lt", "le"):
        if getattr(meta, key, None) is not None:
            yield key, getattr(meta, key)


def big(value: Any) -> str:
    """2**63 rather than its digits."""
    return "2^63" if value == 2**63 else str(value)


def plain(value: Any) -> str:
    """A default as YAML writes it."""
    if isinstance(value, tuple):
        return str(list(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def tested() -> dict[str, tuple[str, ...]]:
    """Kinds of model on which the tests run the conformance kit, by adapter."""
    sys.path.insert(0, str(ROOT / "tests"))
    try:
        from adapters.test_conformance import CASES
    finally:
        sys.path.pop(0)
    elsewhere = {
        "llava_original": ("llava-torch 1.2.2.post1 itself: 1.5 and 1.6, Llama and Mistral",),  # tests/original_llava
        "tinyllava": ("a stand-in for the codebase",),  # tests/adapters/test_llava_forks.py
    }
    return {**elsewhere, **{name: tuple(kinds) for name, kinds in CASES.items()}}


@functools.cache
def adapter_rows() -> list[Any]:
    """The declarations of all adapters for their model's default configuration."""
    from scope_adapters.table import rows

    return rows(tested=tested())


def adapters() -> str:
    """Table of the built-in adapters."""
    from scope_adapters.table import HEAD

    return table(HEAD, (row.cells() for row in adapter_rows()))


def adapters_short() -> str:
    """Table of the built-in adapters for the README."""
    return table(
        ("adapter", "serves", "CLS", "tested on tiny models with"),
        ((row.cells()[0], row.serves, row.cells()[2], row.cells()[6]) for row in adapter_rows()),
    )


def recipe_fit() -> str:
    """Table of the recipes and the families of models that they run on, by the declarations of `adapter_rows`."""
    from scope_core.adapters import recipe_fits

    rows = [row for row in adapter_rows() if row.declaration is not None]
    fits = {row.name: {fit.recipe: fit for fit in recipe_fits(row.declaration)} for row in rows}

    def cell(adapter: str, recipe: str) -> str:
        fit = fits[adapter][recipe]
        own = recipe.partition("@")[0]
        return "yes" if fit.runs else ", ".join(name.replace(own, "") or own for name in fit.variants) or "-"

    names = [record.name for record in records("recipe")]
    return table(
        ("recipe", *(f"`{row.name}`" for row in rows)),
        ((f"`{name}`", *(cell(row.name, name) for row in rows)) for name in names),
    )


def model_types() -> str:
    """Table of all image-text-to-text types of the locked transformers, and the adapter that serves each."""
    from scope_adapters.model_types import model_types

    known, fits = tested(), {}
    for row in adapter_rows():
        if row.declaration is not None:
            fits[row.model_type] = _count(row.declaration)
    any_type = _any_type()
    short, refused = {*any_type.LONG} & {*any_type.served()}, {*any_type.REFUSED}
    fits |= {name: _count(any_type.model(name)) for name in (*known["generic"], *short)}
    types = model_types(tested=[*fits])

    def served(one: Any) -> str:
        if one.adapter == "generic" and one.name in refused:
            return "not served: see below"
        return f"`{one.adapter}`" if one.adapter else f"not served: {one.why}"

    def trial(one: Any) -> str:
        return "shorter test" if one.name in short else "yes" if one.tested else ""

    return table(
        ("`model_type`", "served by", "recipes that run as they are", "tested"),
        ((f"`{one.name}`", served(one), fits.get(one.name, ""), trial(one)) for one in types),
    )


def _count(model: Any) -> str:
    from scope_core.adapters import recipe_fits

    found = recipe_fits(model)
    return f"{sum(fit.runs for fit in found)} of {len(found)}"


def _any_type() -> Any:
    """The tiny models on which the tests run the generic adapter."""
    sys.path.insert(0, str(ROOT / "tests"))
    try:
        from adapters import any_type
    finally:
        sys.path.pop(0)
    return any_type


def towers() -> str:
    """Table of the known layouts of vision towers."""
    from scope_adapters.towers.layouts import LAYOUTS

    return table(
        ("`model_type`", "layers at", "attention", "query, key", "CLS", "registers"),
        (
            (
                f"`{name}`",
                " or ".join(f"`{path}`" for path in t.layers),
                f"`{t.attention}`",
                f"`{t.query}`, `{t.key}`",
                "yes" if t.cls else "no",
                t.registers,
            )
            for name, t in sorted(LAYOUTS.items())
        ),
    )


def licence_of(entry: Any) -> str:
    """The licence of a zoo entry's weights, in words where it has none."""
    return entry.licence or ("see its model card" if entry.source else "none needed")


def zoo() -> str:
    """Table of the zoo."""
    return table(
        ("name", "kind", "what", "weights from", "licence of the weights", "parameters"),
        (
            (f"`{i.name}`", i.kind, i.summary, i.source or "random", licence_of(i), i.parameters)
            for i in sorted(
                (record.item for record in records("zoo")), key=lambda item: (item.kind != "tower", item.name)
            )
        ),
    )


def served_recipes() -> str:
    """Table of the recipes that vLLM can serve, and of reasons why it cannot serve the others."""
    from transformers import LlavaConfig

    from scope_adapters.serving.geometry import geometry_of
    from scope_adapters.serving.servable import check

    geometry, served = geometry_of(LlavaConfig()), []
    refused: dict[str, list[str]] = {}
    for record in records("recipe"):
        spec = {"recipe": record.name, "budget": record.item.spec.get("budget", 64)}
        try:
            check(scope.Pruner(spec), geometry)
        except scope.SpecError as error:
            reason = str(error).partition("cannot be served by vLLM: ")[2]
            reason = reason.replace(f" (scope-core {scope.__version__})", "")
            short = re.sub(r"\[\d+\]", "[k]", re.split(r"\. [A-Za-z]|: images", reason)[0])
            refused.setdefault(short, []).append(f"`{record.name}`")
        else:
            served.append(f"`{record.name}`")
    rows = [(", ".join(served), "yes"), *((", ".join(names), f"no: {why}") for why, names in refused.items())]
    return table(("recipes", "served"), rows)


def touch_points() -> str:
    """Every name of vLLM that the plugin builds on."""
    from scope_adapters.serving.touch_points import TOUCH_POINTS

    return table(
        ("name", "for", "documented by vLLM"),
        ((f"`{p.module}.{p.path}`", p.use, "yes" if p.documented else "no") for p in TOUCH_POINTS),
    )


def exit_codes() -> str:
    """Table of exit codes, from the command line's own."""
    from scope_core import cli

    rows = re.findall(r"^(\d+) {2,}(.+)$", inspect.getdoc(cli) or "", re.MULTILINE)
    return table(("code", "means"), ((code, re.sub(r"``([^`]+)``", r"`\1`", text)) for code, text in rows))


def commands() -> str:
    """Every command with its arguments, options and examples."""
    import typer

    from scope_core.cli import app
    from scope_core.cli.shell import plugin_command

    text = command_tree(typer.main.get_command(app), "scope")
    return text + "".join(command_tree(plugin_command(record), f"scope {record.name}") for record in records("command"))


def command_tree(command: Any, path: str) -> str:
    """One command and those below it."""
    inner = getattr(command, "commands", {})
    text = f"### `{path}`\n\n" if path != "scope" else "Options of the whole program:\n\n"
    if path != "scope":
        written = {True: "{}", False: "[{}]"}
        arguments = [
            written[p.required].format((p.metavar or p.name) + ("..." if p.nargs != 1 else ""))
            for p in command.params
            if not is_option(p)
        ]
        line = " ".join([path, "[OPTIONS]", *(["COMMAND"] if inner else []), *arguments])
        text += f"{plain_markup(command.help)}\n\n```\n{line}\n```\n\n"
    rows = [option_row(p) for p in command.params if "completion" not in p.name and p.name != "help"]
    text += table(("option", "means", "default"), rows) + "\n" if rows else ""
    examples = re.findall(r"\$\[/cyan\] (.+)", command.epilog or "")
    if examples and path != "scope":
        text += "```console\n" + "".join(f"$ {line.replace(chr(92) + '[', '[')}\n" for line in examples) + "```\n\n"
    return text + "".join(command_tree(below, f"{path} {name}") for name, below in inner.items())


def is_option(param: Any) -> bool:
    """True if a parameter is written with dashes."""
    return bool(param.opts[0].startswith("-"))


def option_row(param: Any) -> tuple[str, str, str]:
    """An argument or an option: how it is written, what it means, its default."""
    name = (
        ", ".join(sorted(param.opts, key=lambda opt: opt.startswith("--")))
        if is_option(param)
        else param.metavar or param.name
    )
    flag = getattr(param, "is_flag", False)
    if flag and param.secondary_opts:
        name += f" / {param.secondary_opts[0]}"
    elif param.metavar and is_option(param):
        name += f" {param.metavar}"
    shown = getattr(param, "show_default", None)
    default = "required" if param.required else ""
    if isinstance(shown, str):
        default = shown
    elif not flag and not param.required and isinstance(param.default, (int, str)):
        default = f"`{param.default}`"
    return f"`{name}`", plain_markup(getattr(param, "help", "") or ""), default


def plain_markup(text: str) -> str:
    """A help text without rich's markup, on one line."""
    return " ".join(re.sub(r"\[/?[a-z ]+\]", "", text or "").split())


def compare_json() -> str:
    """Tables of the fields that ``scope compare --json`` prints, from their classes."""
    from scope_bench.compare import report

    text = ""
    for data in (
        report.Comparison,
        report.Method,
        report.Spread,
        report.Timing,
        report.NotRun,
        report.Photograph,
        report.Row,
    ):
        rows = []
        for name, field in data.model_fields.items():
            plain_type = get_origin(field.annotation) is None
            kind = field.annotation.__name__ if plain_type else re.sub(r"[a-z_]+\.", "", str(field.annotation))
            rows.append((f"`{name}`", f"`{kind.replace('None', 'null')}`", " ".join((field.description or "").split())))
        text += f"`{data.__name__}`: {prose(data).rstrip('.')}.\n\n" + table(("field", "type", "meaning"), rows) + "\n"
    return text


def error_tree() -> str:
    """The tree of errors, from the module that defines them."""
    lines = (inspect.getdoc(errors) or "").split("\n")
    tree = [line.removeprefix("    ") for line in lines if line.startswith("    ")]
    named = {word for line in tree for word in re.findall(r"\w+Error\b", line)}
    missing = {
        name for name, item in vars(errors).items() if inspect.isclass(item) and issubclass(item, errors.ScopeError)
    } - named
    if missing:
        raise SystemExit(f"the tree in scope_core.errors lacks {missing}")
    return "```\n" + "\n".join(tree) + "\n```"


def compatibility() -> str:
    """Table of the tested environments, from the results of `scripts/matrix`."""
    from scope_adapters.checks import tested

    packages = ("python", *tested.PACKAGES, "numpy")
    head = ("row", *packages, "passed", "failed", "skipped", "tested on")
    return table(
        head,
        (
            (f"`{name}`", *(row[what] for what in packages), row["passed"], row["failed"], row["skipped"], row["date"])
            for name, row in tested.rows().items()
        ),
    )


GROUPS: dict[str, dict[str, str]] = {
    "scope_core": {
        "Configure and run": "Pruner select load PrunerSpec Selection Receipt ImageReceipt Attachment attached detach "
        "VisualTokens Stream",
        "Plan": "Layout Plan",
        "Sweep": "sweep Sweep",
        "Find plugins": "default_registry discover Registry PluginWarning",
        "Greedy, for optimizers and selectors": "greedy rank take_turns by_group ungroup",
        "Errors": "ScopeError SpecError BudgetError UnknownNameError SignalError TokensError TooLargeError PluginError "
        "PluginConflictError PluginOutputError AdapterError AttachError ZooError TaskError MissingDependencyError",
    },
    "scope_core.parts": {
        "Register": "hookimpl CONTRACT Entry Recipe",
        "Write parts": "ComponentSpec Slot Spec SignalName parse_signal Signals Part SaliencySource SimilarityMetric "
        "CoverageFunction Combiner Optimizer Selector Budget Partition Constraint Merger PositionPolicy",
        "Count tokens": "ImageLayout Span Group GroupSize apportion fill units",
        "Write optimizers and selectors": "Problem Picks scores Way Execution Scoring "
        "plan_execution matrix_bytes free_memory Kernel Blocks",
    },
    "scope_core.adapters": {
        "Write adapters": "ModelAdapter Declaration Offer Session Schedule check_fit compatible_parts find_adapter "
        "recipe_fits RecipeFit resolve replace_attribute",
        "Encode once": "Encoding Asked Memo Reader point_of reusable",
        "The zoo": "ZooEntry Tower LoadedModel",
        "Images": "read_images upright_rgb",
        "Caches": "cache_folder replacing sole_user remove_leftovers",
    },
    "scope_core.plot": {"Draw": "kept order compare coverage_map coverage_curve"},
    "scope_core.tasks": {"Write tasks": "Task Example Question Box Outcome"},
    "scope_core.commands": {
        "Register": "Command Check Finding import_target",
        "Options": "ScopeGroup State state_of examples numbers split_commas check_out",
        "Output": "note warn done out show_json table percent plain_text working loading progress make_folder "
        "write_text did_you_mean listed explain THETAS CACHE_DIR",
        "Images": "Picture open_pictures is_clip",
        "Specs": "read_spec read_spec_text label_of json_schema",
    },
}
"""Public names by face and use."""


def api() -> str:
    """The reference of every public name, from the docstrings."""
    text = (
        "<!-- written by docs/generate.py; do not edit -->\n\n# API reference\n\n"
        "Every public name, from its docstring, by the module it is imported from; also `scope_core.__version__`. "
        "`scope_core.testing` has [a page of its own](test-your-plugin.md). Shapes: B groups "
        "selected together, N candidate tokens, K kept, D feature width, H heads, L prompt length.\n\n"
    )
    for face, groups in GROUPS.items():
        module = importlib.import_module(face)
        left = sorted(set(module.__all__) - set(" ".join(groups.values()).split()) - {"__version__"})
        text += f"## `{face}`\n\n{(inspect.getdoc(module) or '').splitlines()[0]}\n\n"
        for group, names in {**groups, **({"Others": " ".join(left)} if left else {})}.items():
            text += f"*{group}*\n\n" + "".join(member(name, getattr(module, name)) for name in names.split())
    return text.rstrip() + "\n"


def member(name: str, item: Any) -> str:
    """One public name."""
    text = f"### `{name}`\n\n"
    is_class = inspect.isclass(item) and get_origin(item) is None  # Python 3.10 takes tuple[Span, ...] for a class
    if is_class and issubclass(item, Exception):
        bases = ", ".join(f"`{base.__name__}`" for base in item.__bases__)
        return f"{text}{prose(item)}\n\nIs a {bases}.\n\n"
    if is_class:
        fields = getattr(item, "model_fields", None)
        if fields is None and not getattr(item, "_is_protocol", False) and not inspect.isabstract(item):
            text += signature(name, item)
        text += f"{prose(item)}\n\n"
        if fields:
            text += "".join(
                f"- `{field}`: {' '.join((info.description or '').split())}\n"
                for field, info in fields.items()
                if info.description
            )
            text += "\n" if any(info.description for info in fields.values()) else ""
        return text + "".join(method(name, key, value) for key, value in vars(item).items() if not key.startswith("_"))
    if inspect.isroutine(item):
        return f"{text}{signature(name, item)}{prose(item)}\n\n"
    about = {
        "THETAS": "Thresholds of theta-coverage that receipts and reports give.",
        "CACHE_DIR": "Option `--cache-dir` for `Annotated[Path | None, CACHE_DIR]`; give its value to `state_of`.",
        "Way": '`Literal["dense", "kernel", "blocks"]`: how exact greedy is run; the picks are the same. By the loop '
        "over the whole matrix, by the coverage function's `Kernel`, or without the matrix, from blocks of it.",
        "Group": "`tuple[Span, ...]`: tokens that are selected together, in order.",
        "SignalName": "Type of a spec's option that names a signal; anything else is refused with the spec.",
        "CONTRACT": "Version (major, minor) of what plugins are promised and owe. A plugin's module may say which "
        'one it was built for: `scope_contract = "1"`.',
        "hookimpl": "Marks a function of a plugin as the implementation of the [hook](hooks.md) of the same name.",
    }
    return f"{text}{about[name]}\n\n"


def method(owner: str, name: str, item: Any) -> str:
    """One public method or property; data fields are described by their class."""
    if isinstance(item, property):
        return f"#### `{owner}.{name}`\n\n{prose(item)}\n\n" if item.__doc__ else ""
    function = item.__func__ if isinstance(item, (classmethod, staticmethod)) else item
    if not inspect.isroutine(function) or not function.__doc__:
        return ""
    return f"#### `{owner}.{name}`\n\n{signature(f'{owner}.{name}', function)}{prose(function)}\n\n"


def video_evidence() -> str:
    """What methods keep of labelled clips, from docs/evidence/video/results.json."""
    return evidence_table("video").table()


def video_speed() -> str:
    """Time and memory of each method on long videos, from docs/speed/video.json."""
    return script(DOCS / "speed" / "video.py").table()


def evidence_table(folder: str) -> Any:
    """The module that makes the tables of a folder of docs/evidence."""
    return script(DOCS / "evidence" / folder / "table.py")


def script(path: Path) -> Any:
    """A file of the docs as a module."""
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def comparison() -> str:
    """Every recipe on the frozen scenes, from docs/evidence/comparison/results.json."""
    registry = scope.default_registry()
    known = hosts(registry, adapter_rows())

    def facts(name: str) -> tuple[str, str]:
        method = Method(name, registry)
        runs = sum(not why for why in method.runs_on(known).values())
        return "no" if method.served() else "yes", f"{runs} of {len(known)}"

    return evidence_table("comparison").table(facts)


def comparison_left() -> str:
    """The recipes that neither table of docs/comparison.md has, and why."""
    return evidence_table("comparison").left_out([record.name for record in records("recipe")])


def serving_load() -> str:
    """Requests per second of a pruned and an unpruned server, from docs/serving/load.json."""
    facts = json.loads((DOCS / "serving" / "load.json").read_text(encoding="utf-8"))
    return table(
        (
            "clients", "keeps", "requests per s", "x", "ms to first token (p95)", "ms per further token", "KV cache",
            "encoder", "of it selection",
        ),
        (
            (
                str(row["clients"]),
                row["engine"] if row["engine"] == "all" else f"`{row['engine']}`",
                f"{row['requests_per_s']:.2f}",
                f"{row['times']:.2f}",
                f"{row['ttft_ms_median']:.0f} ({row['ttft_ms_p95']:.0f})",
                f"{row['tpot_ms_median']:.0f}",
                f"{row['kv_peak']:.0%}",
                f"{row['encoder_s']:.1f} s",
                f"{row['selection_share']:.1%}",
            )
            for row in facts["rows"]
        ),
    )  # fmt: skip


def signature(name: str, item: Any) -> str:
    """How a function or class is called, as a code block."""
    try:
        made = inspect.signature(item)
    except (TypeError, ValueError):
        return ""
    words, star = [], False
    for parameter in made.parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            words.append("*")
            star = True
        mark = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        star = star or mark == "*"
        word = f"{mark}{parameter.name}" + (
            f": {hint(parameter.annotation)}" if parameter.annotation is not parameter.empty else ""
        )
        if parameter.default is not parameter.empty:
            default = (
                "..."
                if "factory" in repr(parameter.default) or "object at" in repr(parameter.default)
                else repr(parameter.default)
            )
            word += f" = {default}"
        words.append(word)
    back = "" if made.return_annotation in (made.empty, None, "None") else f" -> {hint(made.return_annotation)}"
    line = f"{name}({', '.join(words)}){back}"
    if len(line) > 100:
        line = f"{name}(\n    " + ",\n    ".join(words) + f",\n){back}"
    return f"```\n{line}\n```\n\n"


def hint(annotation: Any) -> str:
    """An annotation as it is written in the code."""
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def prose(item: Any) -> str:
    """A docstring as Markdown: its sections become lists."""
    text = inspect.getdoc(item) or ""
    text = re.sub(r"``([^`]+)``", r"`\1`", text)
    text = re.sub(r"^([^\n]*)::\n", r"\1:\n", text, flags=re.MULTILINE)
    out, inside = [], False
    for line in text.split("\n"):
        heading = re.fullmatch(r"(Args|Attributes|Returns|Raises|Yields):", line)
        if heading:
            out += ["", f"**{heading[1]}**", ""]
            inside = True
        elif inside and re.match(r" {4}\S", line):
            entry = re.match(r" {4}(\*{0,2}[\w., ]+): (.*)", line)
            lists = heading_of(out) not in ("Returns", "Yields")
            out.append(f"- `{entry[1]}`: {entry[2]}" if entry and lists else line.strip())
        elif inside and line.startswith("     "):
            out.append(f"  {line.strip()}")
        else:
            inside = inside and not line
            out.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).strip()


def heading_of(lines: list[str]) -> str:
    """The section that the next line belongs to."""
    return next((line.strip("*") for line in reversed(lines) if line.startswith("**")), "")


SECTIONS: dict[str, Callable[[], str]] = {
    "kinds": kinds,
    "signals": signal_families,
    "methods": methods,
    "parts": parts,
    "zoo": zoo,
    "served-recipes": served_recipes,
    "serving-load": serving_load,
    "touch-points": touch_points,
    "adapters": adapters,
    "adapters-short": adapters_short,
    "towers": towers,
    "errors": error_tree,
    "exit-codes": exit_codes,
    "commands": commands,
    "compare-json": compare_json,
    "compatibility": compatibility,
    "recipe-fit": recipe_fit,
    "model-types": model_types,
    "video-evidence": video_evidence,
    "video-asked": lambda: evidence_table("video").asked(),
    "comparison": comparison,
    "comparison-asked": lambda: evidence_table("comparison").asked(),
    "comparison-left": comparison_left,
    "video-speed": video_speed,
    "search-validation": lambda: evidence_table("search").validation(),
    "search-last": lambda: evidence_table("search").last(),
    "search-text": lambda: evidence_table("search").text(),
    "search-test": lambda: evidence_table("search").test("test"),
    "search-test-text": lambda: evidence_table("search").test("test_text"),
    "search-power": lambda: evidence_table("search").power(),
    "search-fresh": lambda: evidence_table("search").test("fresh"),
}

if __name__ == "__main__":
    raise SystemExit(main())
