"""Receipts say what was kept beside what it was kept of."""

from __future__ import annotations

import json

import torch

import scope_core as scope
from scope_core import ImageReceipt, Layout
from scope_core.parts import ImageLayout

LAYOUT = Layout((ImageLayout((4, 2), 0, separators=3, patches=8), ImageLayout((6,), 1)))


def receipt(**more: object) -> scope.Receipt:
    pruner = scope.Pruner("coverage_only@2")
    selection = pruner.select(torch.eye(6).expand(2, 6, 6), layout=LAYOUT)
    return pruner.receipt(selection, LAYOUT, **more)


def test_separators_and_patches_come_from_the_layout() -> None:
    assert receipt().images == (ImageReceipt(0, 6, 2, 3, 8), ImageReceipt(1, 6, 2))


def test_separators_may_depend_on_what_was_kept() -> None:
    images = receipt(separators=[1, 0]).images
    assert [image.separators for image in images] == [1, 0]


def test_text_and_json_say_both_counts() -> None:
    made = receipt(separators=[1, 0])
    lines = str(made).splitlines()
    assert lines[1].startswith("  image 0 (prompt 0): 6 (of 8 patches) -> 2 + 1 newline, theta-coverage")
    assert lines[2].startswith("  image 1 (prompt 1): 6 -> 2, theta-coverage")
    images = json.loads(made.to_json())["images"]
    assert [(image["tokens"], image["patches"], image["separators"]) for image in images] == [(6, 8, 1), (6, None, 0)]
    assert (made.tokens, made.kept) == (12, 4)


def test_a_call_that_ran_unpruned_is_falsy_and_says_why() -> None:
    made = scope.Receipt("scope@4", "Model", calls=3, unpruned="pixels are missing")
    assert not made
    assert str(made) == "scope@4 on Model: nothing pruned in the latest call: pixels are missing"
    assert json.loads(made.to_json())["unpruned"] == "pixels are missing"
    assert "unpruned" not in receipt().to_dict()
