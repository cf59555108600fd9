"""Tensors that selection cannot read are refused in words, on every way in; those that only look odd are read."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import scope_core as scope
from scope_core import Layout, TokensError, VisualTokens

generator = torch.Generator().manual_seed(0)
FEATURES, SALIENCY = torch.randn(1, 12, 8, generator=generator), torch.rand(1, 12, generator=generator)
ATTENTION = "vision.cls_attention[-2]"


def nested(tensor: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([tensor[0], tensor[0, :5]])


def quantised(tensor: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


REFUSED: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "sparse": (lambda tensor: tensor.to_sparse(), r"of layout sparse_coo; convert with \.to_dense"),
    "nested": (nested, r"nested tensor; pad it"),
    "quantised": (quantised, r"quantised \(torch.qint8\); convert with \.dequantize"),
    "complex": (
        lambda tensor: tensor.to(torch.complex64),
        "must be floating point, not torch.complex64; take the real",
    ),
    "integer": (lambda tensor: tensor.long(), r"must be floating point, not torch.int64; convert with \.float"),
    "bool": (lambda tensor: tensor > 0, r"must be floating point, not torch.bool; convert with \.float"),
}
READ: dict[str, Callable[[Tensor], Tensor]] = {
    "gradients": lambda tensor: tensor.clone().requires_grad_(),
    "parameter": torch.nn.Parameter,
    "strides": lambda tensor: tensor.transpose(0, -1).contiguous().transpose(0, -1),
    "slices": lambda tensor: tensor.repeat_interleave(2, -1)[..., ::2],
    "float64": lambda tensor: tensor.double(),
}


def selected(features: Any = FEATURES, saliency: Any = SALIENCY, **more: Any) -> list[list[int]]:
    return scope.select(features, saliency=saliency, spec={"recipe": "scope", "budget": 4, **more}).picks.tolist()


def pruned(features: Any = FEATURES, saliency: Any = SALIENCY) -> list[list[int]]:
    tokens = VisualTokens.of(features, saliency=saliency)
    return scope.Pruner("scope@4").prune(tokens, Layout.of([12])).picks.tolist()


def ranked(features: Any = FEATURES, saliency: Any = SALIENCY) -> list[list[int]]:
    return selected(features, saliency, combiner="saliency_only")


def signalled(features: Any = FEATURES, saliency: Any = SALIENCY) -> list[list[int]]:
    plain = not saliency.is_nested and saliency.layout == torch.strided
    signals = {ATTENTION: saliency[:, None] if plain else saliency}
    return scope.select(features, signals=signals, spec="scope@4").picks.tolist()


WAYS = [selected, pruned, ranked, signalled]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_is_refused_by_name(way: Callable[..., Any], kind: str) -> None:
    make, words = REFUSED[kind]
    with pytest.raises(TokensError, match=f"features (is|must).*{words}|features.*{words}"):
        way(features=make(FEATURES))
    name = f"signal '{ATTENTION}'" if way is signalled else "saliency"
    with pytest.raises(TokensError, match=words) as caught:
        way(saliency=make(SALIENCY))
    assert str(caught.value).startswith(name)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", READ)
def test_what_only_looks_odd_is_read(way: Callable[..., Any], kind: str) -> None:
    assert way(READ[kind](FEATURES), READ[kind](SALIENCY)) == way()


def test_tensors_without_numbers() -> None:
    with pytest.raises(TokensError, match="features is on the device meta, which holds no numbers"):
        selected(FEATURES.to("meta"), None)
    with pytest.raises(TokensError, match="saliency is on meta, features on cpu"):
        selected(saliency=SALIENCY.to("meta"))
    for shape in ((1, 0, 8), (1, 12, 0)):
        with pytest.raises(TokensError, match="are empty; N and D must be at least 1"):
            selected(torch.zeros(shape), None)
    none = VisualTokens.of(torch.zeros(0, 12, 8), signals={ATTENTION: torch.zeros(0, 1, 12)})
    assert scope.Pruner("scope@4").prune(none, Layout.of([])).counts == ()
    assert scope.Pruner("scope@4").plan([]).counts == ()
    assert scope.Pruner("scope@4").plan([0, 12]).counts == (0, 4)


@pytest.mark.skipif(not hasattr(torch, "float8_e4m3fn"), reason="torch has no numbers of 8 bits")
def test_numbers_of_eight_bits() -> None:
    small = FEATURES.to(torch.float8_e4m3fn), SALIENCY.to(torch.float8_e4m3fn)
    assert selected(*small) == selected(*(tensor.float() for tensor in small))
    with pytest.raises(TokensError, match=r"features is torch\.float8_e4m3fn, with which torch cannot compute; omit"):
        selected(*small, dtype="as_is")
    if hasattr(torch, "float4_e2m1fn_x2"):
        packed = torch.zeros(1, 12, 8, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
        with pytest.raises(TokensError, match="which torch cannot convert to float32"):
            selected(packed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.complex64])
def test_masks_that_are_added_to_scores_are_refused(dtype: torch.dtype) -> None:
    """As booleans they would say the opposite."""
    with pytest.raises(TokensError, match="valid must be bool, True for tokens that count"):
        scope.select(FEATURES, valid=torch.zeros(1, 12, dtype=dtype), saliency=SALIENCY, spec="scope@4")
    whole = torch.ones(1, 12, dtype=torch.int64)
    assert scope.select(FEATURES, valid=whole, saliency=SALIENCY, spec="scope@4").picks.tolist() == selected()
