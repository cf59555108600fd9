"""Time to the first token and memory of the cache: unpruned, pruned, and the ideal in which selection costs nothing.

The ideal is not a pruned call: it is the time of the model to encode its images in an unpruned call, plus its time for
a text prompt with as many positions as the pruned prompt. None of our code runs in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from scope_bench.speed.probes import PARTS, Watched
from scope_bench.speed.select import pruners
from scope_bench.speed.timing import Effort, Laps, Progress, finish, in_turns, spread
from scope_core import Attachment, Pruner, Registry
from scope_core.cli.methods import naming

UNPRUNED = "unpruned"
MORE = 8
"""New tokens after the first, to time a step."""


def generate(
    watched: Watched,
    specs: Sequence[tuple[str, int]],
    registry: Registry,
    effort: Effort,
    progress: Progress = lambda done, total: None,
    *,
    clock: str = "wall",
    steps: bool = True,
) -> dict[str, Any]:
    """Report with a row for the unpruned model, and one for each spec and budget, all timed by the same clock.

    Rows have ``first_ms`` (time to the first token), ``prompt`` (positions that enter the language model), ``kv_bytes``
    and ``step_ms`` (each further token). Pruned rows also have ``ideal_ms``, ``speedup``, ``ideal_speedup``,
    ``reached`` (their ratio), ``select_ms``, ``own_ms`` (all of the call except the model's encoding of its images,
    selection, and the model's ``generate``), and ``own_share`` (``own_ms`` over the time of ``generate``). With stages
    inside the language model, ``hooks_ms`` is what hooks on its layers take besides selection, and ``hooks_share`` what
    they take with selection, over the time of ``generate``.

    ``tower_ms``, ``projector_ms``, ``pack_ms`` (the rest of the model's encoding), ``select_ms``, ``hooks_ms``,
    ``llm_ms`` and ``own_ms`` add up to ``first_ms`` in every call; their medians do so approximately. ``pack_ms`` is
    None if the adapter does not declare the model's encoding method (`Declaration.encoder`); that time is then part of
    ``own_ms``. Not part of ``own_ms`` are hooks inside the tower (in ``tower_ms``, see section capture), the reading of
    signals (in ``select_ms``), and attaching, which is done once and not timed.

    Args:
        watched: The model and a call.
        specs: ``(recipe or spec file, tokens to keep of each image)``.
        registry: The registry that names are looked up in.
        effort: Number of rounds.
        progress: Called with (finished rounds, all rounds).
        clock: ``"wall"`` or ``"cpu"``.
        steps: True to time further tokens as well.

    Raises:
        ScopeError: a spec is wrong, or cannot run on the model; the message begins with its name.
    """
    runs: dict[str, Callable[[], Any]] = {UNPRUNED: partial(_whole, watched, 1)}
    names: dict[str, tuple[Pruner, list[tuple[float, int]]]] = {}
    kept: dict[str, Any] = {UNPRUNED: _cache_bytes(watched)}
    for text, keep in specs:
        name = f"{text}@{keep}"
        pruner = pruners([text], keep, registry)[text]
        with naming(name), pruner.attach(watched.model) as pruning:
            kept[name] = _cache_bytes(watched)
            lengths = _lengths(pruning, watched)
        names[name] = pruner, lengths
        runs[name] = partial(_pruned, watched, pruner, 1)
        runs |= {_words(length): partial(_text, watched, length, 1) for _, length in lengths}
    if steps:
        runs[_more(UNPRUNED)] = partial(_whole, watched, 1 + MORE)
        for name, (pruner, lengths) in names.items():
            runs[_more(name)] = partial(_pruned, watched, pruner, 1 + MORE)
            final = lengths[-1][1]
            runs[_more(_words(final))] = partial(_text, watched, final, 1 + MORE)
    watched.now = time.process_time if clock == "cpu" else time.perf_counter
    laps = in_turns(runs, effort, watched.device, progress)
    first = _row(UNPRUNED, laps, steps)
    first |= {"prompt": int(watched.inputs["input_ids"].shape[1]), "kv_bytes": kept[UNPRUNED]}
    rows = [first, *(_pruned_row(name, names[name][1], laps, kept, first, steps) for name in names)]
    return {
        "model": watched.loaded.name,
        "clock": clock,
        "notes": watched.loaded.notes,
        "batch": int(watched.inputs["input_ids"].shape[0]),
        "dtype": str(next(watched.model.parameters()).dtype).removeprefix("torch."),
        "parameters": sum(p.numel() for p in watched.model.parameters()),
        "rows": rows,
    }


def _row(name: str, laps: Mapping[str, Laps], steps: bool) -> dict[str, Any]:
    lap = laps[name]
    row = {"name": name, "rounds": len(lap.wall), "first_ms": spread(lap.parts["whole"])}
    row |= {f"{part}_ms": spread(lap.parts[part]) for part in (*PARTS, "features", "generate", "llm")}
    row["pack_ms"] = spread(lap.parts["pack"]) if "pack" in lap.parts else None
    return row | {"step_ms": _step(name, laps) if steps else None}


def _pruned_row(
    name: str,
    lengths: list[tuple[float, int]],
    laps: Mapping[str, Laps],
    kept: Mapping[str, Any],
    unpruned: dict[str, Any],
    steps: bool,
) -> dict[str, Any]:
    row = _row(name, laps, steps)
    parts = laps[name].parts
    row |= {"select_ms": spread(parts["select"]), "own_ms": spread(parts["own"])}
    words = sum(share * spread(laps[_words(length)].parts["whole"])["median"] for share, length in lengths)
    row["ideal_ms"] = unpruned["features_ms"]["median"] + words
    row["ideal_step_ms"] = _step(_words(lengths[-1][1]), laps) if steps else None
    row["speedup"] = unpruned["first_ms"]["median"] / row["first_ms"]["median"]
    row["ideal_speedup"] = unpruned["first_ms"]["median"] / row["ideal_ms"]
    row["reached"] = row["ideal_ms"] / row["first_ms"]["median"]
    row["own_share"] = row["own_ms"]["median"] / row["generate_ms"]["median"]
    if "hooks" in parts:
        row["hooks_ms"] = spread(parts["hooks"])
        row["hooks_share"] = (row["hooks_ms"]["median"] + spread(parts["inside"])["median"]) / row["generate_ms"][
            "median"
        ]
    return row | {"prompt": lengths[-1][1], "kv_bytes": kept[name]}


def _step(name: str, laps: Mapping[str, Laps]) -> float:
    """Milliseconds of each further token: the difference of the medians of a long and a short call."""
    more = spread(laps[_more(name)].parts["whole"])["median"] - spread(laps[name].parts["whole"])["median"]
    return more / MORE


def _whole(watched: Watched, tokens: int) -> dict[str, float]:
    with watched.watching():
        whole = _call(watched, tokens)
        spent = watched.spent
        # the model encodes its images inside its `generate`
        return {**spent, **_packing(watched), "llm": whole - spent["features"], "whole": whole}


def _text(watched: Watched, length: int, tokens: int) -> dict[str, float]:
    return {"whole": _call(watched, tokens, **watched.texts(length))}


def _pruned(watched: Watched, pruner: Pruner, tokens: int) -> dict[str, float]:
    """Times of one pruned call, without attaching."""
    with watched.watching(), pruner.attach(watched.model), watched.selecting(pruner):
        whole = _call(watched, tokens)
        spent = {"select": 0.0, "inside": 0.0, **watched.spent}
    own = whole - spent["select"] - spent["features"] - spent["generate"]
    spent["llm"] = spent["generate"] - spent.get("hooks", spent["inside"])
    if "hooks" in spent:
        spent["hooks"] -= spent["inside"]
    return {**spent, **_packing(watched), "select": spent["select"] + spent["inside"], "own": own, "whole": whole}


def _packing(watched: Watched) -> dict[str, float]:
    """The time of the model's encoding without tower and projector, if its encoding method is declared."""
    if not watched.declaration.encoder:
        return {}
    return {"pack": watched.spent["features"] - sum(watched.spent[part] for part in PARTS)}


def _call(watched: Watched, tokens: int, **inputs: Any) -> float:
    """Milliseconds of one call."""
    finish(watched.device)
    start = watched.now()
    watched.call(tokens, **inputs)
    finish(watched.device)
    return (watched.now() - start) * 1e3


def _lengths(pruning: Attachment, watched: Watched) -> list[tuple[float, int]]:
    """``(share of the language model's layers, positions that pass through them)``, first layers first."""
    layers = max(pruning.declaration.decoder_layers, 1)
    receipts = [pruning.receipt, *pruning.receipt.later]
    final = int(pruning.positions.shape[1])  # type: ignore[union-attr]  # there was a call
    prompts = watched.inputs["input_ids"].shape[0]
    starts = [stage.decoder_layer or 0 for stage in pruning.pruner.stages]
    lengths = [final + (receipt.kept - receipts[-1].kept) // prompts for receipt in receipts]
    if starts[0]:
        starts, lengths = [0, *starts], [int(watched.inputs["input_ids"].shape[1]), *lengths]
    ends = [*starts[1:], layers]
    return [
        ((end - start) / layers, length)
        for start, end, length in zip(starts, ends, lengths, strict=True)
        if end > start
    ]


def _cache_bytes(watched: Watched) -> int:
    """The size of a call's cache of keys and values, in bytes."""
    with torch.no_grad():
        options = {"max_new_tokens": 1, "do_sample": False, "return_dict_in_generate": True}
        output = watched.model.generate(**watched.inputs, **options)
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(output.past_key_values, set()))


def _tensors(held: Any, seen: set[int]) -> list[Tensor]:
    """All tensors inside a cache of any class."""
    if id(held) in seen:
        return []
    seen.add(id(held))
    if isinstance(held, Tensor):
        return [held]
    if isinstance(held, Mapping):
        inner = list(held.values())
    elif isinstance(held, (list, tuple)):
        inner = list(held)
    elif hasattr(held, "__dict__") and not isinstance(held, type):
        # an attached pruner leaves a record of the prompt on the cache
        inner = [value for name, value in vars(held).items() if not name.startswith("_scope")]
    else:
        inner = []
    return [tensor for value in inner for tensor in _tensors(value, seen)]


def _words(length: int) -> str:
    return f"text of {length}"


def _more(name: str) -> str:
    return f"{name}, {1 + MORE} tokens"
