"""Labels of methods in tables: different for different specs, and short."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scope_core.pruning.spec import written

MOST, LONGEST = 2, 32
"""The most options that a label names, and the most characters for them."""


def told_apart(labels: Sequence[str], specs: Sequence[Mapping[str, Any]], files: Sequence[str]) -> list[str]:
    """``labels``, all different: equal ones get the options in which they differ, or their file name, or a number.

    Args:
        labels: A label for each method.
        specs: The long form of each method's spec.
        files: The spec file of each method; empty for recipes.
    """
    ends = [""] * len(labels)
    for label in {label for label in labels if labels.count(label) > 1}:
        same = [number for number, other in enumerate(labels) if other == label]
        found = options_apart([specs[number] for number in same])
        for number, options in zip(same, found, strict=True):
            ends[number] = options
    taken: list[str] = []
    for label, end, file in zip(labels, ends, files, strict=True):
        named = [end] * bool(end) + [Path(file).name] * bool(file)
        choices = [*([] if end else [label]), *(f"{label} ({text})" for text in named)]
        numbers = (f"{label} ({number})" for number in range(2, len(labels) + 2))
        taken.append(next(choice for choice in (*choices, *numbers) if choice not in taken))
    return taken


def options_apart(specs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The options in which specs differ, for each as ``"alpha 0.5"``; empty texts if these are too many or too long."""
    flat = [dict(_leaves(spec)) for spec in specs]
    names = {path for one in flat for path in one if path[-1] == "name"}
    # a part without options is written as its name alone
    flat = [{(*path, "name") if (*path, "name") in names else path: v for path, v in one.items()} for one in flat]
    paths = dict.fromkeys(path for one in flat for path in one)
    apart = [path for path in paths if len({written(one.get(path)) for one in flat}) > 1]
    others = {path[:-1] for path in apart if path[-1] == "name"}  # options of different parts are not compared
    apart = [path for path in apart if path[-1] == "name" or not any(path[: len(o)] == o for o in others)]
    texts = [", ".join(f"{_word(path)} {written(one.get(path))}" for path in apart) for one in flat]
    too_long = len(apart) > MOST or max(map(len, texts), default=0) > LONGEST
    return [""] * len(specs) if too_long or len(set(texts)) < len(texts) else texts


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """``(path, value)`` of every option of a spec."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)))
    else:
        yield (path or ("",), value)


def _word(path: tuple[str, ...]) -> str:
    """An option's own name; that of its slot for the name of a part."""
    return path[-2] if path[-1] == "name" and len(path) > 1 else path[-1]
