"""What similarities promise that are selected by without the N x N matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from scope_core.testing.adapters.harness import Broken
from scope_core.testing.parts.cases import Case
from scope_core.testing.parts.run_tensors import floats
from scope_core.testing.parts.runs import differing, run, scene_of
from scope_core.testing.parts.subject import Subject


def vectors(subject: Subject, case: Case) -> None:
    """Dot products of `vectors()`, where there are any, are what `pairwise()` gives, up to rounding."""
    scene = scene_of(subject, case)
    tokens = scene.tokens
    with torch.no_grad():
        made = subject.part().vectors(tokens)
    if made is None:
        return
    width = made.shape[-1] if isinstance(made, Tensor) and made.dim() else 0
    mine = floats(made, (*tokens.shape[:2], width), "vectors()", scene)
    mine = mine.double().masked_fill(~tokens.valid[..., None], 0)
    if not bool(torch.isfinite(mine).all()):
        at = tuple(int(i) for i in (~torch.isfinite(mine)).nonzero()[0])
        raise Broken(f"vectors() is {float(mine[at])} at {list(at)}, for finite inputs")
    (plane,) = run(subject, scene).values()
    pairs = tokens.valid[:, :, None] & tokens.valid[:, None, :]
    products, matrix = mine @ mine.mT, plane.values.double().masked_fill(~pairs, 0)
    odd = differing(products, matrix) & ((products - matrix).abs() > 1e-5 * products.abs().amax((1, 2), keepdim=True))
    if bool(odd.any()):
        group, row, col = (int(i) for i in odd.nonzero()[0])
        raise Broken(
            f"the dot product of vectors() {row} and {col} of group {group} is {float(products[group, row, col]):.6g}; "
            f"pairwise() gave {float(matrix[group, row, col]):.6g}"
        )
