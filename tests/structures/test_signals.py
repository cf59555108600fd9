"""Signals: names, offers, laziness and shapes."""

from __future__ import annotations

import pytest
import torch

from scope_core import SignalError, TokensError
from scope_core.adapters import Offer
from scope_core.parts import Signals
from scope_core.structures.signals import FAMILIES, batched, parse_signal, token_axis


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("vision.keys[-2]", ("vision.keys", -2)),
        ("vision.hidden[11]", ("vision.hidden", 11)),
        ("projected", ("projected", None)),
        ("acme.depth_map", ("acme.depth_map", None)),
    ],
)
def test_names_are_a_family_and_perhaps_a_layer(name: str, parsed: tuple[str, int | None]) -> None:
    assert parse_signal(name) == parsed


@pytest.mark.parametrize("name", ["", "Attention", "vision.keys[]", "vision.keys[-2", "vision.keys[x]", "a b"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(SignalError, match="is not a signal name"):
        parse_signal(name)
    with pytest.raises(SignalError):
        Signals({name: torch.zeros(1)})


@pytest.mark.parametrize("only", [None, (0, 1, 2, 3)])
def test_layers_of_a_language_model_count_from_0_and_not_from_the_end(only: tuple[int, ...] | None) -> None:
    keys = Offer("decoder.keys", 4, only)
    assert [layer for layer in range(-6, 6) if keys.covers(f"decoder.keys[{layer}]")] == [0, 1, 2, 3]
    assert (str(keys), keys.some) == ("decoder.keys[0..3]", ())
    some = Offer("decoder.keys", 4, (3, 1))
    assert [layer for layer in range(-6, 6) if some.covers(f"decoder.keys[{layer}]")] == [1, 3]
    assert (str(some), some.some) == ("decoder.keys[1] and decoder.keys[3]", (1, 3))


def test_an_offer_covers_its_family_and_layers() -> None:
    keys, projected = Offer("vision.keys", 12), Offer("projected")
    assert keys.covers("vision.keys[-1]")
    assert keys.covers("vision.keys[-12]")
    assert not keys.covers("vision.keys[-13]")
    assert not keys.covers("vision.keys")
    assert not keys.covers("vision.hidden[-1]")
    assert projected.covers("projected")
    assert not projected.covers("projected[-1]")
    assert str(keys) == "vision.keys[-12..-1]"


def test_an_offer_may_cover_some_layers_only() -> None:
    some = Offer("vision.received_attention", 4, (4, 2))
    assert [layer for layer in range(-6, 6) if some.covers(f"vision.received_attention[{layer}]")] == [-3, -1, 2, 4]
    assert some.some == (-1, -3)
    assert str(some) == "vision.received_attention[-1] and vision.received_attention[-3]"
    assert not Offer("vision.hidden", 4, ()).covers("vision.hidden[-1]")
    assert not Offer("decoder.keys", 4, ()).covers("decoder.keys[1]")


def test_layer_0_is_no_layer() -> None:
    """It would pass the check when attaching and fail in the first call."""
    assert [layer for layer in range(-4, 5) if Offer("vision.hidden", 3).covers(f"vision.hidden[{layer}]")] == [
        -3,
        -2,
        -1,
        1,
        2,
        3,
    ]


def test_functions_are_called_once_and_only_when_read() -> None:
    calls = []

    def make() -> torch.Tensor:
        calls.append(1)
        return torch.ones(1, 2)

    signals = Signals({"clip.text_similarity": make})
    assert "clip.text_similarity" in signals
    assert list(signals) == ["clip.text_similarity"]
    doubled = signals.map(lambda name, tensor: tensor * 2)
    assert calls == []
    assert doubled["clip.text_similarity"].tolist() == [[2, 2]]
    assert doubled["clip.text_similarity"].tolist() == signals["clip.text_similarity"].mul(2).tolist()
    assert calls == [1]


def test_signals_are_read_only() -> None:
    with pytest.raises(TypeError):
        Signals({"projected": torch.zeros(1)})["projected"] = torch.ones(1)  # type: ignore[index]


def test_missing_signal_lists_what_is_there() -> None:
    with pytest.raises(SignalError, match=r"signal 'projected' was not given.*Given: vision.keys\[-2\]"):
        Signals({"vision.keys[-2]": torch.zeros(1)})["projected"]
    with pytest.raises(SignalError, match="Given: none"):
        Signals()["projected"]


@pytest.mark.parametrize("family", FAMILIES)
def test_token_axis_of_known_families(family: str) -> None:
    sizes = {"B": 2, "H": 3, "N": 7, "D": 5, "C": 4, "M": 6, "T": 8, "F": 9}
    axes = FAMILIES[family].split()
    shape = tuple(sizes[axis] for axis in axes)
    assert token_axis(family, shape, 2, 7) == (axes.index("N") if "N" in axes else None)
    with pytest.raises(TokensError, match="expected"):
        token_axis(family, (*shape, 1), 2, 7)
    with pytest.raises(TokensError, match="B=3"):
        token_axis(family, shape, 3, 7)


def test_token_axis_of_other_families_is_the_one_of_that_length() -> None:
    assert token_axis("acme.maps", (2, 3, 7), 2, 7) == 2
    assert token_axis("acme.summary", (2, 3), 2, 7) is None
    with pytest.raises(TokensError, match="more than one axis of length N=7"):
        token_axis("acme.pairs", (2, 7, 7), 2, 7)


def test_batched_adds_the_axis_only_where_it_is_missing() -> None:
    assert batched("projected", torch.zeros(4, 3)).shape == (1, 4, 3)
    assert batched("projected", torch.zeros(1, 4, 3)).shape == (1, 4, 3)
    assert batched("acme.depth", torch.zeros(4)).shape == (1, 4)
    assert batched("acme.depth", torch.zeros(1, 4)).shape == (1, 4)
