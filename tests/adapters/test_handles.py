"""A lost handle: `attached` and `detach` find the attachment of a model, wrapped or not."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

import scope_core as scope
from adapters.guests import keeping
from adapters.models import llava
from adapters.snapshot import differences, snapshot
from adapters.test_wrappers import Wrapped


def test_a_model_without_a_pruner() -> None:
    for model in (llava(), nn.Linear(2, 2), object(), None):
        assert scope.attached(model) is None
        scope.detach(model)


@pytest.mark.parametrize("given", ["itself", "the wrapper", "another wrapper", "what contains it"])
@pytest.mark.parametrize("through", ["model", "wrapper"])
def test_the_handle_is_found_and_detached(through: str, given: str) -> None:
    model = llava()
    wrapper, before = Wrapped(model), snapshot(model)
    asked: Any = {
        "itself": model,
        "the wrapper": wrapper,
        "another wrapper": Wrapped(Wrapped(model)),
        "what contains it": nn.ModuleDict({"policy": nn.ModuleList([model])}),
    }[given]
    kept = [keeping(4).attach(wrapper if through == "wrapper" else model)]
    assert scope.attached(asked) is kept[0]
    kept.clear()  # the handle is lost, the pruner is not
    scope.detach(asked)
    assert scope.attached(asked) is None
    assert differences(before, snapshot(model)) == []
    scope.detach(asked)
    with keeping(5).attach(model) as again:
        assert scope.attached(asked) is again


def test_several_models_are_listed() -> None:
    one, two = llava(), llava(seed=1)
    both = nn.ModuleList([one, two])
    with keeping(4).attach(one) as first:
        assert scope.attached(both) is first
        with keeping(6).attach(two) as second:
            for ask in (scope.attached, scope.detach):
                with pytest.raises(scope.AttachError, match="contains 2 models with a pruner") as caught:
                    ask(both)
                assert repr(first) in str(caught.value)
                assert repr(second) in str(caught.value)
            assert first.active
            assert second.active
            assert scope.attached(two) is second


def test_the_error_of_a_second_attachment_names_the_way_out() -> None:
    model = llava()
    keeping(4).attach(model)
    with pytest.raises(scope.AttachError, match=r"scope\.detach\(model\) first \(scope\.attached\(model\)"):
        keeping(5).attach(Wrapped(model))
    scope.detach(model)
    with keeping(5).attach(Wrapped(model)):
        pass


def test_a_second_pruner_is_refused_or_takes_the_place() -> None:
    """A notebook's cell that attaches can be run again; the model is clean after the last one."""
    model = llava()
    before = snapshot(model)
    first = keeping(4).attach(model)
    with pytest.raises(
        scope.AttachError,
        match=r"call scope.detach\(model\) first \(scope.attached\(model\) .* attach\(model, replace=True\)",
    ):
        keeping(5).attach(model)
    with pytest.raises(scope.SignalError):
        scope.Pruner({"budget": 4, "saliency": "text_relevance"}).attach(model, replace=True)
    assert scope.attached(model) is first  # what does not fit replaces nothing
    for _ in range(2):
        second = keeping(5).attach(model, replace=True)
        assert scope.attached(model) is second
        assert not first.active
    first.detach()
    assert scope.attached(model) is second
    with keeping(6).attach(model, replace=True) as third:
        assert scope.attached(model) is third
    assert scope.attached(model) is None
    assert differences(before, snapshot(model)) == []
