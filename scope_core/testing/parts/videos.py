"""Properties of parts that see a whole video: what they say of its frames is true."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from scope_core.structures.signals import Signals, token_axis
from scope_core.structures.sizes import GroupSize
from scope_core.structures.tokens import VisualTokens
from scope_core.testing.failures import PropertyViolation, raised
from scope_core.testing.parts.cases import Case
from scope_core.testing.parts.runs import differing
from scope_core.testing.parts.subject import Subject

VIDEO = Case(groups=(((2, 2),) * 7,), seed=7, video=True)
"""Seven frames of equal size, so that counts of frames are equal too."""
OTHER = 1000
"""Added to the seed, for the numbers of frames that are changed."""


def frames_outside_reach_change_nothing(subject: Subject, case: Case) -> None:
    """A frame's result stays the same if frames further away than `reach` change, or are not there."""
    whole, others = subject.tokens(VIDEO), subject.tokens(replace(VIDEO, seed=VIDEO.seed + OTHER))
    frame = whole.frames()[0]
    reach = subject.part().reach
    wanted = _results(subject, whole)
    for number in range(int(frame.max()) + 1):
        near = (frame >= number - reach[0]) & (frame <= number + reach[1])
        cut = near.nonzero().flatten()[None]
        trials = (
            ("change", _mixed(whole, others, near), number),
            ("are not there", whole.regroup(cut), number - int(frame[cut[0, 0]])),
        )
        for what, tokens, place in trials:
            got = _results(subject, tokens)[place]
            if got.shape != wanted[number].shape or bool(differing(got, wanted[number]).any()):
                raise PropertyViolation(
                    f"`reach` is {tuple(reach)}, but frame {number} gives {_shown(got)} where frames outside of it "
                    f"{what}, and {_shown(wanted[number])} with the whole video; raise `reach`, or set it to None"
                )


def pieces_are_no_larger_than_planned(subject: Subject, case: Case) -> None:
    """No piece of `label` has more tokens than `largest` says."""
    tokens, part = subject.tokens(case), subject.part()
    keep = [max(1, int(valid.sum()) // 2) for valid in tokens.valid]
    try:
        labels = part.label(tokens, keep)
    except Exception as error:  # third-party code may raise anything
        raise PropertyViolation(raised(error)) from error
    for group, (row, frames) in enumerate(zip(labels, tokens.frames(), strict=True)):
        real = row[row >= 0]
        size = GroupSize(len(real), frames[frames >= 0].bincount().tolist())
        if len(real) and (found := int(real.bincount().max())) > (most := part.largest(size)):
            raise PropertyViolation(
                f"a piece of group {group} has {found} tokens, but largest() says at most {most} of {int(size)} in "
                f"frames of {list(size.frames)}; return an upper bound"
            )


def _results(subject: Subject, tokens: VisualTokens) -> list[Tensor]:
    """What a saliency or selector gives each frame: scores, or picks by their number in the frame, in order."""
    part, frame = subject.part(), tokens.frames()[0]
    numbers = range(int(frame.max()) + 1)
    try:
        with torch.no_grad():
            if subject.kind == "saliency":
                score = part.score(tokens)[0]
                return [score[frame == number] for number in numbers]
            picks = part.select(tokens, [len(frame) // 2]).picks[0]
    except Exception as error:  # third-party code may raise anything
        raise PropertyViolation(raised(error)) from error
    picks = picks[picks >= 0]
    first = [int((frame == number).nonzero()[0]) for number in numbers]
    return [picks[frame[picks] == number] - first[number] for number in numbers]


def _mixed(tokens: VisualTokens, others: VisualTokens, kept: Tensor) -> VisualTokens:
    """``tokens`` with features and signals of ``others`` wherever ``kept`` (N,) is False."""

    def both(axis: int | None, one: Tensor, other: Tensor) -> Tensor:
        if axis is None:
            return one
        shape = [1] * one.dim()
        shape[axis] = len(kept)
        return one.where(kept.view(shape), other)

    def signal(name: str) -> Tensor:
        one = tokens.signals[name]
        return both(token_axis(name, tuple(one.shape), *tokens.shape[:2]), one, others.signals[name])

    signals = Signals({name: signal(name) for name in tokens.signals})
    return replace(tokens, features=both(1, tokens.features, others.features), signals=signals)


def _shown(values: Tensor) -> str:
    return str([round(value, 6) for value in values.tolist()])
