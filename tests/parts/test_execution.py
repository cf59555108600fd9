"""How picks are made of parts is decided by one pure function."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import built

import scope_core as scope
from scope_core.parts import Execution, Scoring, plan_execution

COUNT = 20_000
MATRIX = COUNT**2 * 4


def parts(**changed: Any) -> Scoring:
    names = {"similarity": "cosine", "coverage": "facility_location", "combiner": "product", **changed}
    return Scoring(*(built(scope.default_registry(), kind, name) for kind, name in names.items()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "given", "way", "memory", "in_blocks"),
    [
        ({}, {}, "kernel", MATRIX, True),
        ({}, {"ways": ("dense",)}, "dense", MATRIX, False),
        ({}, {"ways": ("dense", "blocks")}, "dense", MATRIX, True),
        ({}, {"ways": ("blocks",)}, "blocks", 0, True),
        ({}, {"allowed": MATRIX}, "kernel", MATRIX, True),
        ({}, {"allowed": MATRIX - 1}, "blocks", 0, True),
        ({}, {"free": MATRIX}, "blocks", 0, True),  # nine tenths of it
        ({}, {"free": MATRIX, "ways": ("dense", "kernel")}, "refuse", MATRIX, False),
        ({}, {"allowed": 1}, "refuse", 0, True),
        ({}, {"itemsize": 2}, "dense", MATRIX // 2, False),
        ({}, {"device": "meta"}, "dense", MATRIX, True),
        ({"coverage": "theta_cover"}, {}, "kernel", MATRIX, False),
        ({"coverage": "theta_cover"}, {"ways": ("blocks",)}, "refuse", MATRIX, False),
        ({"coverage": "modular"}, {"allowed": 1}, "dense", 0, False),
        ({"coverage": "modular"}, {"ways": ("kernel",)}, "refuse", 0, False),
        ({"combiner": "saliency_only"}, {"allowed": 1}, "dense", 0, False),
        ({"combiner": "kernel"}, {}, "kernel", 2 * MATRIX, False),
        ({"similarity": "spatial"}, {"allowed": MATRIX - 1}, "refuse", MATRIX, False),
    ],
)
def test_what_is_decided(changed: Any, given: Any, way: str, memory: int, in_blocks: bool) -> None:
    made = plan_execution(parts(**changed), [COUNT], given.pop("itemsize", 4), **given)
    assert (made.way, made.memory, made.in_blocks) == (way, memory, in_blocks)
    assert made.limit == given.get("allowed")
    assert bool(made.reason) is (way == "refuse")


def test_matrices_that_are_held_together_add_up() -> None:
    assert plan_execution(parts(), [10, 20], 4).memory == 4 * (100 + 400)


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"ways": ("dense",), "allowed": 1}, scope.TooLargeError, "one image: similarity 'cosine'"),
        ({"allowed": 1}, scope.TooLargeError, "one image: even without the matrix of 'cosine'"),
    ],
)
def test_a_refusal_is_an_error_of_its_kind(given: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        plan_execution(parts(), [COUNT], 4, **given).check(lambda: "one image")


def test_selectors_one_after_the_other() -> None:
    whole, without = Execution("kernel", 8, True, 100), Execution("dense")
    assert Execution.of([without, whole]) == Execution("dense", 8, True, 100)
    assert Execution.of([whole, Execution("dense", 9, False, 50)]) == Execution("dense", 9, False, 50)
    refused = Execution("refuse", 0, True, None, "no room", scope.TooLargeError)
    assert Execution.of([whole, refused]) == Execution("refuse", 8, True, 100, "no room", scope.TooLargeError)
    assert Execution.of([]) == Execution()
