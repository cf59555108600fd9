"""Labels: what differs from the recipe, so that specs that differ have labels that differ."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scope_core as scope
from scope_core import Pruner
from scope_core.pruning.labels import options_of

SCOPE: dict[str, Any] = {"recipe": "scope", "budget": 8}
LABELS = [
    (SCOPE, "scope@8"),
    ({**SCOPE, "combiner": {"alpha": 0.5}}, "scope+alpha=0.5@8"),
    ({**SCOPE, "combiner": "sum"}, "scope+combiner=sum@8"),
    ({**SCOPE, "saliency": {"layer": -1}}, "scope+layer=-1@8"),
    ({**SCOPE, "saliency": {"name": "random", "seed": 4}}, "scope+saliency=random(seed=4)@8"),
    ({**SCOPE, "coverage": "log_det"}, "scope+coverage=log_det@8"),
    ({**SCOPE, "budget": {"keep": 8, "per": "tile"}}, "scope+per=tile@8"),
    ({**SCOPE, "budget": 0.25}, "scope@25%"),
    ({**SCOPE, "merger": "average"}, "scope+merger=average@8"),
    ({**SCOPE, "order": "picks"}, "scope+order=picks@8"),
    ({**SCOPE, "at": "projected"}, "scope+at=projected@8"),
    ({**SCOPE, "dtype": "as_is", "memory": 2}, "scope+memory=2+dtype=as_is@8"),
    ({**SCOPE, "constraints": ["first_frame"]}, "scope+constraints=first_frame@8"),
    ({**SCOPE, "then": [{"at": "decoder[2]", "budget": 4}]}, "scope+then=decoder[2]@4@8"),
    ({"budget": 8}, "custom@8"),
    ({"budget": 8, "coverage": "log_det"}, "custom+coverage=log_det@8"),
]


@pytest.mark.parametrize(("spec", "label"), LABELS)
def test_labels(spec: dict[str, Any], label: str) -> None:
    assert Pruner(spec).label == label
    assert bool(options_of(Pruner(spec).spec, scope.default_registry())) == ("+" in label)


def test_recipes_have_their_own_names() -> None:
    for name in scope.default_registry().names("recipe"):
        assert Pruner(name).label.rpartition("@")[0] == name


def test_long_labels_are_short_and_differ() -> None:
    many = {"saliency": "random", "coverage": "log_det", "merger": "average", "order": "picks"}
    labels = [Pruner({**SCOPE, **many, "dtype": dtype}).label for dtype in ("float64", "as_is")]
    assert all(label.startswith("scope+saliency+coverage+order+merger+dtype#"[:14]) for label in labels)
    assert all(len(label) < 70 for label in labels)
    assert labels[0] != labels[1]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 8).map(lambda x: x + 0.0), min_size=2, max_size=5, unique=True))
def test_no_two_alphas_share_a_label(alphas: list[float]) -> None:
    assert len({Pruner({**SCOPE, "combiner": {"alpha": alpha}}).label for alpha in alphas}) == len(alphas)


def test_no_two_changes_share_a_label() -> None:
    changes = [{}, *({key: value} for spec, _ in LABELS[1:13] for key, value in spec.items() if key not in SCOPE)]
    specs = [{**SCOPE, **one, **other} for one, other in itertools.product(changes, changes)]
    found = {Pruner(spec).spec.model_dump_json(): Pruner(spec).label for spec in specs}
    assert len(set(found.values())) == len(found)
