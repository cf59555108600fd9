"""Baselines of selection: a reference, the plain loop of the formula, and other libraries."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

LIBRARIES = {"submodlib": "submodlib-py", "apricot": "apricot-select"}
"""``{module: package}`` of libraries that maximise the same set function."""


def cosine(features: Tensor) -> Tensor:
    """(N, N) cosines of (N, D) features. A method that compares all tokens computes this matrix, or half of it."""
    unit = torch.nn.functional.normalize(features, dim=-1)
    return unit @ unit.T


def plain_loop(features: Tensor, saliency: Tensor, keep: int) -> Tensor:
    """(K,) picks by the formula as published, with all gains computed again for every pick.

    ``gain_j = sum_i max(0, S_ij - c_i)``, with ``c_i`` the running maximum from 0; the highest ``gain_j * a_j`` is
    picked. In the dtype of the features. Source: SCOPE, arXiv 2510.24214.

    Args:
        features: (N, D).
        saliency: (N,).
        keep: Number of picks.
    """
    similarity = cosine(features)
    best = features.new_zeros(len(features))
    free = torch.ones_like(best, dtype=torch.bool)
    picks = []
    for _ in range(keep):
        gain = (similarity - best[:, None]).clamp(min=0).sum(0)
        pick = (gain * saliency).masked_fill(~free, -torch.inf).argmax()
        free[pick] = False
        best = torch.maximum(best, similarity[:, pick])
        picks.append(pick)
    return torch.stack(picks)


def coverage_of(features: Tensor, picks: Tensor) -> float:
    """``sum_i max(0, max over picks of S_ij)`` for the cosine S of ``features`` (N, D), added up in float64."""
    unit = torch.nn.functional.normalize(features.float(), dim=-1)
    return float((unit @ unit[picks].T).double().amax(1).clamp(min=0).sum())


def libraries() -> dict[str, Callable[[Tensor, int], list[int]]]:
    """Functions ``(similarity (N, N), keep) -> picks`` of installed libraries, all by exact lazy greedy."""
    makers = {"submodlib": _submodlib, "apricot": _apricot}
    return {module: makers[module](found) for module in LIBRARIES if (found := _found(module)) is not None}


def missing_libraries() -> list[str]:
    """Packages of the libraries that are not installed."""
    return [package for module, package in LIBRARIES.items() if _found(module) is None]


def _found(module: str) -> Any:
    threads = torch.get_num_threads()
    try:
        return importlib.import_module(module)
    except Exception:  # third-party code may raise anything on import; leave the library out
        return None
    finally:
        torch.set_num_threads(threads)  # importing apricot changes it, which would change all times


def _submodlib(module: Any) -> Callable[[Tensor, int], list[int]]:
    options = {"stopIfZeroGain": False, "stopIfNegativeGain": False, "verbose": False, "show_progress": False}

    def run(similarity: Tensor, keep: int) -> list[int]:
        matrix = similarity.numpy()
        function = module.FacilityLocationFunction(n=len(matrix), mode="dense", sijs=matrix, separate_rep=False)
        return [pick for pick, _ in function.maximize(budget=keep, optimizer="LazyGreedy", **options)]

    return run


def _apricot(module: Any) -> Callable[[Tensor, int], list[int]]:
    def run(similarity: Tensor, keep: int) -> list[int]:
        chosen = module.FacilityLocationSelection(keep, metric="precomputed", optimizer="lazy")
        return [int(pick) for pick in chosen.fit(similarity.double().numpy()).ranking]

    return run
