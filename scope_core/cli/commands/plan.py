"""``scope plan``: the number of kept tokens, from shapes alone."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from scope_core.cli.output import loading, note, out, show_json, table, warn, working
from scope_core.cli.shell import only_spec, split_commas
from scope_core.cli.sizes import frames_of, size_of, tiles_of
from scope_core.cli.spec_options import SPEC, SPEC_OPTION
from scope_core.cli.state import CACHE_DIR, state_of
from scope_core.drawing.text import percent
from scope_core.errors import ZooError

if TYPE_CHECKING:
    from scope_core.parts.execution import Execution
    from scope_core.pruning.pruner import Pruner
    from scope_core.pruning.stage import Stage
    from scope_core.registry.entries import ZooEntry
    from scope_core.structures.layout import Group as TokenGroup
    from scope_core.structures.layout import Plan
    from scope_core.structures.sizes import GroupSize


def plan(
    ctx: typer.Context,
    given: Annotated[str | None, SPEC] = None,
    tokens: Annotated[
        list[str] | None,
        typer.Option(
            "--tokens",
            "--tiles",
            metavar="N,N",
            show_default=False,
            help="Tokens of each image, e.g. 576,576; an image's tiles with plus signs, e.g. 576+576+576.",
        ),
    ] = None,
    video: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FxN",
            show_default=False,
            help="Frames of each video, and tokens of a frame, e.g. 16x196, or 16x14x14 with rows and columns; videos "
            "follow the images of --tokens.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A zoo model, for the number of tokens of an image.", show_default=False),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HxW",
            help="With --model: HEIGHTxWIDTH of each image in pixels; FRAMESxHEIGHTxWIDTH of a video.",
            show_default=False,
        ),
    ] = None,
    spec: Annotated[str | None, SPEC_OPTION] = None,
    cache_dir: Annotated[Path | None, CACHE_DIR] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how many tokens will be kept, from shapes alone, and the memory that selection takes."""
    wanted = only_spec(given, spec)
    counts = [tiles_of(text) for text in split_commas(tokens)]
    images = len(counts)
    counts += [frames_of(text) for text in split_commas(video)]
    sizes = [size_of(text) for text in split_commas(size)]
    state = state_of(ctx, cache_dir=cache_dir)
    entry = None if model is None else state.zoo("model", model).item
    if counts and (sizes or entry):
        hint = "--tokens" if images else "--video"
        raise typer.BadParameter(f"give {hint}, or --model and --size, not both", param_hint=f"'{hint}'")
    if sizes and not entry:
        raise typer.BadParameter("also needs --model NAME; `scope models` lists them", param_hint="'--size'")
    if entry and not sizes:
        raise typer.BadParameter("also needs --size HEIGHTxWIDTH, e.g. 480x640", param_hint="'--model'")
    if not counts and not entry:
        raise typer.BadParameter(
            "give --tokens N, e.g. 576; --video FxN, e.g. 16x196; or --model and --size", param_hint="'--tokens'"
        )
    with working("planning"):
        from scope_core.pruning.pruner import Pruner
        from scope_core.structures.layout import Layout

        pruner = Pruner(wanted, registry=state.registry)
    layout = Layout.of(counts, videos=range(images, len(counts)))
    planned = pruner.plan(sizes, model=_model(entry)) if entry else pruner.plan(layout)
    check(pruner, planned)
    facts = facts_of(planned, pruner.label) | _memory(pruner.stages[0], planned)
    for number, stage in enumerate(facts["later"], 1):
        stage |= _memory(pruner.stages[number], planned.later[number - 1])
    if json:
        show_json(facts)
    else:
        _print(facts)


def check(pruner: Pruner, first: Plan) -> None:
    """Refuse what selection would refuse, as far as spec and sizes show.

    Raises:
        ScopeError: says why.
    """
    for stage, plan in zip(pruner.stages, (first, *first.later), strict=False):
        if plan is first or first.exact:  # else sizes are upper bounds
            _execution(stage, plan).check(partial(_largest, plan))


def _execution(stage: Stage, plan: Plan, free: int | None = None) -> Execution:
    import torch

    itemsize = torch.finfo(stage.dtype or torch.float32).bits // 8
    execution: Execution = stage.parts["selector"].execution(_sizes(plan), itemsize, free)
    return execution


def _largest(plan: Plan) -> str:
    return f"a group of {max(_sizes(plan), default=0)} tokens"


def _sizes(plan: Plan) -> list[GroupSize]:
    from scope_core.structures.sizes import group_sizes

    return group_sizes(plan.groups, plan.layout)


def _memory(stage: Stage, plan: Plan) -> dict[str, Any]:
    """The memory limit, the memory of blocks, and the reason why this machine would refuse, if it would."""
    from scope_core import memory
    from scope_core.structures.blocks import blocks_bytes

    most = max(_sizes(plan), default=0)
    fixed = blocks_bytes(most, 0)
    execution = _execution(stage, plan, memory.free_memory())
    refused = f"{_largest(plan)}: {execution.reason}" if execution.reason else None
    facts: dict[str, Any] = {"limit": execution.limit, "blocks": None, "refused": refused}
    if plan.in_blocks:
        facts["blocks"] = {"tokens": most, "fixed": fixed, "per_width": blocks_bytes(most, 1) - fixed}
    return facts


def _model(entry: ZooEntry) -> Any:
    """The zoo entry's model.

    Raises:
        ZooError: its weights cannot be fetched; suggests --tokens.
    """
    try:
        with loading(entry):
            return entry.load().model
    except ZooError as error:
        raise ZooError(f"{error}. Or plan without a model, e.g. --tokens 576") from error


def facts_of(plan: Plan, label: str) -> dict[str, Any]:
    """A plan as plain data. An image's count is None if images share a budget."""
    from scope_core.errors import BudgetError

    kept: Sequence[int | None]
    try:
        kept = plan.images
    except BudgetError:
        kept = [None] * len(plan.layout.images)
    total = sum(image.tokens for image in plan.layout.images)
    return {
        "spec": label,
        "exact": plan.exact,
        "tokens": total,
        "kept": plan.total,
        "keep_ratio": plan.total / total if total else 0.0,
        "memory": plan.memory,
        "copies": plan.copies,
        "in_blocks": plan.in_blocks,
        "images": [
            {
                "tokens": image.tokens,
                "tiles": list(image.tiles),
                "frames": list(image.frame_tokens) if image.frames else [],
                "separators": image.separators,
                "kept": count,
            }
            for image, count in zip(plan.layout.images, kept, strict=True)
        ],
        "groups": [
            {"spans": [{"image": s.image, "start": s.start, "stop": s.stop} for s in group], **_amounts(group, count)}
            for group, count in zip(plan.groups, plan.counts, strict=True)
        ],
        "later": [facts_of(after, f"then, at {after.layout.schedule[after.layout.stage]}") for after in plan.later],
    }


def _amounts(group: TokenGroup, count: int) -> dict[str, Any]:
    tokens = sum(span.tokens for span in group)
    return {"tokens": tokens, "kept": count, "keep_ratio": count / tokens if tokens else 0.0}


def _print(facts: dict[str, Any]) -> None:
    right = {"justify": "right"}
    rows = [
        (
            str(number),
            _where(group["spans"], facts["images"]),
            str(group["tokens"]),
            str(group["kept"]),
            percent(group["keep_ratio"]),
        )
        for number, group in enumerate(facts["groups"])
    ]
    counts = table(
        ["group", "tokens of", ("tokens", right), ("kept", right), ("kept/tokens", right)], rows, show_footer=True
    )
    footer = ("total", "", str(facts["tokens"]), str(facts["kept"]), percent(facts["keep_ratio"]))
    for column, text in zip(counts.columns, footer, strict=True):
        column.footer = Text(text, style="bold")
    blocks: list[Any] = [Text(facts["spec"], style="bold cyan"), counts]
    if len(facts["groups"]) > len(facts["images"]):
        per_image = ", ".join(f"{_item(i)} {n}: {i['tokens']} to {i['kept']}" for n, i in enumerate(facts["images"]))
        blocks.append(Text(per_image))
    out().print(Group(*blocks))
    _say_memory(facts)
    for after in facts["later"]:
        _print(after)
    if not facts["exact"]:
        note("this budget depends on the content of the images: the counts are upper bounds")


def _say_memory(facts: dict[str, Any]) -> None:
    from scope_core.memory import gibibytes, readable_size

    blocks, limit = facts["blocks"], facts["limit"]
    taken = allowed = ""
    if blocks:
        per_width = readable_size(1000 * blocks["per_width"])
        taken = f"{readable_size(blocks['fixed'])}, and {per_width} for each 1000 numbers of a vector"
    if limit is not None:
        allowed = f"; `memory: {gibibytes(limit)}` allows {readable_size(limit)}"
    if blocks and not facts["memory"]:
        note(f"similarities are computed in blocks, without their matrix. On the CPU that takes {taken}{allowed}")
    elif facts["memory"] >= 1e8:
        without = f"; with less memory, in blocks, without their matrix: {taken}" if blocks else ""
        note(f"matrices take {readable_size(facts['memory'])} during selection{without}{allowed}")
    if (each := 4000 * facts["copies"] * facts["tokens"]) >= 1e8:
        note(
            f"vectors of all tokens are held up to {facts['copies']:g} times: {readable_size(each)} for each 1000 "
            f"numbers of a vector in float32"
        )
    if facts["refused"]:
        warn(f"`select` would refuse this on this machine now: {facts['refused']}")


def _where(spans: list[dict[str, int]], images: list[dict[str, Any]]) -> str:
    """The place of a group in words: ``image 0``, ``video 1, frame 2``, ``images 0, 1 together`` or token numbers."""
    owners = sorted({span["image"] for span in spans})
    if len(owners) > 1:
        kinds = {_item(images[owner]) for owner in owners}
        return f"{kinds.pop() if len(kinds) == 1 else 'item'}s {', '.join(map(str, owners))} together"
    if not owners:
        return "nothing"
    item = images[owners[0]]
    name, pieces, piece = (
        f"{_item(item)} {owners[0]}",
        item["frames"] or item["tiles"],
        "frame" if item["frames"] else "tile",
    )
    if len(spans) != 1:
        return f"{name}, {len(spans)} spans"
    start, stop = spans[0]["start"], spans[0]["stop"]
    if (start, stop) == (0, sum(pieces)):
        return name + (f", all {len(pieces)} {piece}s" if len(pieces) > 1 else "")
    edges = list(accumulate(pieces, initial=0))
    # of pieces that begin there, only the last holds tokens
    number = bisect_right(edges, start) - 1 if start < stop else bisect_left(edges, start)
    if edges[number] == start and edges[number + 1 : number + 2] == [stop]:
        return f"{name}, {piece} {number}"
    return f"{name}, tokens {start} to {stop - 1}"


def _item(image: dict[str, Any]) -> str:
    return "video" if image["frames"] else "image"
