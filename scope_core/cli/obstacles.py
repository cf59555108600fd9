"""The reason why a method cannot run on a tower alone."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from scope_core.structures.signals import parse_signal

if TYPE_CHECKING:
    from scope_core.pruning.pruner import Pruner
    from scope_core.structures.declaration import Declaration


def obstacle(
    pruner: Pruner, tower: str, points: Collection[str], declaration: Declaration | None
) -> tuple[str, tuple[str, ...]]:
    """The reason why a pruner cannot run on a tower alone, and the missing signals; empty if it can.

    Merging is allowed, since no projector follows.
    """
    spec, first = pruner.spec, next(iter(points), "")
    signals = () if declaration is None else tuple(declaration.lacks(pruner.needs))
    if spec.at not in points:
        text = f"it takes tokens at '{spec.at}', but {tower} alone has tokens only at: {', '.join(points)}"
        if signals:
            text += f"; it also needs {', '.join(signals)}"
        elif pruner.decoder_layer is None:
            text += f"; --at {first} runs it there instead"
        return text, signals
    if spec.then:
        return f"it also prunes at {', '.join(stage.at for stage in spec.then)}, inside a language model", signals
    for part in pruner.walk() if declaration is not None else ():
        if declaration is not None and (missing := declaration.lacks(part.needs)):
            text = f"its {part.kind} {part} needs {', '.join(missing)}, which {tower} alone does not have"
            return text + _why(missing[0], part.kind, pruner, declaration), signals
        if declaration is not None and (misfit := part.misfit(declaration)):
            return f"its {part.kind} {part} does not fit: {misfit}", signals
    return "", ()


def _why(signal: str, kind: str, pruner: Pruner, declaration: Declaration) -> str:
    from scope_core.pruning.compatibility import compatible_parts

    family = parse_signal(signal)[0]
    if family in declaration.reasons:
        why = f": {declaration.reasons[family]}"
    elif any(offer.family == family for offer in declaration.offers):
        why = f": it has {', '.join(map(str, declaration.offers))}"
    else:
        why = "" if family.startswith("vision.") else ": a tower alone has no question and no language model"
    instead = compatible_parts(pruner.registry, kind, declaration)
    return why + (f"; {kind} parts that would work: {', '.join(instead)}" if instead else "")
