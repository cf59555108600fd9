"""``scope calibrate``: a position prior, head weights or shares of layers from images, as a small file for a spec."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from scope_core.cli.asked import asked, declared
from scope_core.cli.output import check_out, loading, out, progress, show_json, table, working, write_text
from scope_core.cli.photos import Picture, open_pictures
from scope_core.cli.state import CACHE_DIR, state_of
from scope_core.clips import is_clip
from scope_core.errors import SignalError, SpecError, ZooError, choices, quoted

if TYPE_CHECKING:
    from scope_core.engine.calibration import HeadSum, LayerSum, PriorSum
    from scope_core.parts.saliency import SaliencySource
    from scope_core.parts.zoo import Tower
    from scope_core.registry.registry import Registry
    from scope_core.structures.declaration import Declaration
    from scope_core.structures.tokens import VisualTokens

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""Endings of the files that are read of a folder."""


class Kind(str, Enum):
    """What is measured."""

    prior = "prior"
    heads = "heads"
    layers = "layers"


def calibrate(
    ctx: typer.Context,
    images: Annotated[
        list[str],
        typer.Argument(metavar="FOLDER|IMAGE...", help="Folders of images, files, or demo:NAME.", show_default=False),
    ],
    out_file: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Write the calibration to this .json.", show_default=False)
    ],
    kind: Annotated[
        Kind,
        typer.Option(help="prior: mean at each place; heads: a weight for each; layers: shares that each needs."),
    ] = Kind.prior,
    tower: Annotated[
        str | None, typer.Option(metavar="NAME", help="A zoo tower.", show_default="see `scope models`")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="A zoo model instead, for saliency inside its language model.", show_default=False
        ),
    ] = None,
    question: Annotated[
        str | None,
        typer.Option("--question", "-q", metavar="TEXT", help="With --model: the question about each image."),
    ] = None,
    saliency: Annotated[
        str | None,
        typer.Option(
            metavar="SALIENCY",
            help="The saliency that is measured: a name, or YAML such as '{name: NAME, layer: -3}'.",
            show_default="the first that fits",
        ),
    ] = None,
    cache_dir: Annotated[Path | None, CACHE_DIR] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a position prior, head weights or shares of layers on images, for the option `file` of a part."""
    check_out(out_file, (".json",))
    if tower and model:
        raise typer.BadParameter("give --tower or --model, not both", param_hint="'--model'")
    if bool(model) != bool(question):
        text = "also needs a question, -q 'What is in the image?'" if model else "also needs --model NAME"
        raise typer.BadParameter(text, param_hint="'--model'" if model else "'--question'")
    if kind is Kind.layers and not (model and saliency):
        text = "layers also needs --model NAME, a question, and --saliency with a layer inside the language model"
        raise typer.BadParameter(text, param_hint="'--kind'")
    state = state_of(ctx, cache_dir=cache_dir)
    pictures = open_pictures(list(_files(images)))
    entry = state.zoo("model" if model else "tower", model or tower).item
    with working("reading the saliency"):
        from scope_core.structures.calibration import Calibration, numbers_of

        given = None if saliency is None else _source(saliency, state.registry, kind)
    with loading(entry):
        loaded = entry.load()
    declaration = declared(loaded, state.registry) if model else loaded.declaration
    source = given or _first(kind, state.registry, declaration)
    sources = _by_layer(source, declaration.decoder_layers, state.registry) if kind is Kind.layers else [source]
    for one in sources:
        _check(one, declaration, entry.name, state.registry)
    found = _sum(kind)
    seen = asked(loaded, sources, pictures, question, state.registry) if question else _seen(loaded, source, pictures)
    with progress("calibrating") as tell:
        for number, tokens in enumerate(seen, 1):
            _add(found, sources, tokens, kind)
            tell(number, len(pictures))
    options = source.spec.model_dump(mode="json")
    inside = any(name.startswith("decoder.") for name in source.all_needs)
    numbers = numbers_of(declaration, inside=inside)
    name = entry.name if model else declaration.model  # by which a tower alone is told
    made = Calibration(kind.value, options, name, numbers, len(pictures), found.values())
    write_text(out_file, made.to_text())
    if json:
        facts = {"kind": kind.value, "saliency": options, "model": made.model, "architecture": made.architecture}
        show_json({**facts, "images": made.images, "shape": made.shape, "values": made.values, "out": str(out_file)})
    else:
        _print(made, str(out_file))


def _files(names: Sequence[str]) -> Iterator[str]:
    """The images, those of each folder by name."""
    for name in names:
        if not Path(name).is_dir():
            yield name
            continue
        found = sorted(str(path) for path in Path(name).iterdir() if path.suffix.lower() in SUFFIXES)
        if not found:
            videos = "; videos in it are not read" if any(is_clip(path.name) for path in Path(name).iterdir()) else ""
            raise ZooError(f"folder '{name}' holds no image{videos}; endings that are read: {', '.join(SUFFIXES)}")
        yield from found


def _source(text: str, registry: Registry, kind: Kind) -> SaliencySource[Any]:
    """The saliency source that the user typed.

    Raises:
        SpecError: it is not one, or cannot be measured in this way.
    """
    from scope_core.pruning.spec_file import read_text

    value, _ = read_text(text, "--saliency", name="--saliency")
    if not isinstance(value, (str, dict)):
        raise SpecError(f"--saliency {quoted(text)} is neither a name nor a table such as '{{name: NAME, layer: -3}}'")
    options = {"name": value} if isinstance(value, str) else dict(value)
    if not isinstance(options.get("name"), str):
        raise SpecError(f"--saliency {quoted(text)} has no name; write '{{name: NAME, ...}}'")
    registry.get("saliency", options["name"])
    source = _made(registry, options)
    if kind is Kind.heads and not _has_heads(source):
        raise SpecError(
            f"saliency {source} has no weights for heads; those that have: {choices(_with_heads(registry))}"
        )
    if kind is not Kind.heads and not source.nonnegative:
        raise SpecError(f"saliency {source} may be below 0, so scores cannot be divided by its mean, or be shares")
    if kind is Kind.layers and not any(name.startswith("decoder.") for name in source.all_needs):
        raise SpecError(f"saliency {source} reads no layer of a language model, so it is the same at all of them")
    if any(getattr(part.spec, name, None) for part in source.walk() for name in ("file", "weights")):
        raise SpecError("--saliency is calibrated already: omit its file and weights, and measure the source itself")
    return source


def _by_layer(source: SaliencySource[Any], layers: int, registry: Registry) -> list[SaliencySource[Any]]:
    """The source at every layer of the language model behind which tokens can be dropped: all but the last."""
    options = source.spec.model_dump(mode="json")
    return [_made(registry, _at_layer(options, layer)) for layer in range(max(layers - 1, 1))]


def _at_layer(options: Any, layer: int) -> Any:
    """Options with every ``layer``, also of parts inside, set to this one."""
    if isinstance(options, list):
        return [_at_layer(one, layer) for one in options]
    if not isinstance(options, dict):
        return options
    return {name: layer if name == "layer" else _at_layer(value, layer) for name, value in options.items()}


def _made(registry: Registry, options: dict[str, Any]) -> SaliencySource[Any]:
    """The source with these options; errors name the option, as those of specs do."""
    from pydantic import ValidationError

    from scope_core.pruning.spec_reader import explain

    try:
        source: SaliencySource[Any] = registry.build_named("saliency", **options)
    except ValidationError as error:
        raise SpecError(explain(error, "--saliency", {"saliency": options})) from error
    return source


def _has_heads(source: Any) -> bool:
    return callable(getattr(source, "by_head", None))


def _with_heads(registry: Registry) -> list[str]:
    """Names of the saliency sources that weight heads."""
    return [name for name in registry.names("saliency") if _has_heads(_built(registry, name))]


def _built(registry: Registry, name: str) -> Any:
    """The source with its default options; None if it needs others."""
    try:
        return registry.build_named("saliency", name)
    except ValueError:  # specs and pydantic's errors
        return None


def _first(kind: Kind, registry: Registry, declaration: Declaration) -> SaliencySource[Any]:
    """The default source, or the first one with heads that the model can give."""
    default = registry.default("saliency")
    if kind is Kind.prior and default is not None:
        return _source(default.name, registry, kind)
    names = _with_heads(registry)
    fitting = [name for name in names if not declaration.lacks(_built(registry, name).all_needs)]
    return _source((fitting or names or ["none"])[0], registry, kind)


def _check(source: SaliencySource[Any], declaration: Declaration, name: str, registry: Registry) -> None:
    """Refuse a source whose signals the model cannot give."""
    from scope_core.pruning.compatibility import compatible_parts

    if missing := declaration.lacks(source.all_needs):
        raise SignalError(
            f"saliency {source} needs {', '.join(missing)}, which {name} cannot give; --saliency takes one of these: "
            f"{', '.join(compatible_parts(registry, 'saliency', declaration)) or 'none installed'}"
        )


def _sum(kind: Kind) -> PriorSum | HeadSum | LayerSum:
    from scope_core.engine.calibration import HeadSum, LayerSum, PriorSum

    if kind is Kind.layers:
        return LayerSum()
    return PriorSum() if kind is Kind.prior else HeadSum()


def _add(found: PriorSum | HeadSum | LayerSum, sources: Sequence[Any], tokens: VisualTokens, kind: Kind) -> None:
    import torch

    from scope_core.parts.problem import scores

    with torch.no_grad():
        tokens = tokens.to_dtype(torch.float32)
        if kind is Kind.heads:
            found.add(sources[0].by_head(tokens), tokens)
        else:
            each = [scores(source, tokens) for source in sources]
            found.add(torch.stack(each, 1) if kind is Kind.layers else each[0], tokens)


def _seen(tower: Tower, source: SaliencySource[Any], pictures: Sequence[Picture]) -> Iterator[VisualTokens]:
    """The tokens of each image, from a tower."""
    point = next(iter(tower.declaration.points))
    for picture in pictures:
        yield tower.encode([picture.image], at=point, needs=source.all_needs)


_UNITS = {"prior": " places", "heads": " heads", "layers": " layers and thresholds"}


def _print(made: Any, file: str) -> None:
    """A summary, and the words that name the file in a spec."""
    from scope_core.structures.calibration import KINDS

    numbers = [value for row in made.values for value in (row if isinstance(row, tuple) else (row,))]
    rows = [
        ("saliency", ", ".join(f"{name} {value}" for name, value in made.saliency.items() if value is not None)),
        ("measured on", f"{made.model}, {made.images} images"),
        ("values", " x ".join(map(str, made.shape)) + _UNITS[made.kind]),
        ("smallest", f"{min(numbers):.3g}"),
        ("largest", f"{max(numbers):.3g}"),
    ]
    title = Text(KINDS[made.kind].removeprefix("a "), style="bold cyan")
    out().print(Group(title, table([("", {"no_wrap": True}), ""], rows, show_header=False)))
