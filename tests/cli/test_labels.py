"""Labels of methods are different for different specs, and say what differs where that is short."""

from __future__ import annotations

import pytest

from scope_core.cli.labels import options_apart, told_apart

BASE = {"saliency": {"name": "a", "layer": -2}, "combiner": {"name": "product", "alpha": 1.0}, "at": "vision"}


@pytest.mark.parametrize(
    ("changes", "texts"),
    [
        ([{"combiner": {"name": "product", "alpha": x}} for x in (0.5, 2.0)], ["alpha 0.5", "alpha 2.0"]),
        ([{"combiner": "sum"}, {}], ["combiner sum", "combiner product"]),
        ([{"combiner": {"name": "sum", "alpha": 2.0}}, {}], ["combiner sum", "combiner product"]),
        ([{"at": "vision"}, {"at": "projected"}], ["at vision", "at projected"]),
        ([{"saliency": {"name": "a", "layer": -3}, "at": "x"}, {}], ["layer -3, at x", "layer -2, at vision"]),
        ([{"at": "x" * 40}, {}], ["", ""]),
        ([{"at": str(n), "dtype": str(n), "order": str(n)} for n in (1, 2)], ["", ""]),
    ],
)
def test_options_apart(changes: list[dict[str, object]], texts: list[str]) -> None:
    assert options_apart([{**BASE, **change} for change in changes]) == texts


def test_labels_that_options_cannot_tell_apart_get_the_file_or_a_number() -> None:
    specs = [{**BASE, "at": letter * 40} for letter in "abc"]
    assert told_apart(["m"] * 3, specs, ["", "x/one.yaml", "y/one.yaml"]) == ["m", "m (one.yaml)", "m (2)"]
    assert told_apart(["m", "n"], specs[:2], ["", ""]) == ["m", "n"]
