"""Options for loading weights are checked before anything is read or downloaded."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch
import transformers

import scope_core as scope
from scope_adapters.zoo import placement
from scope_adapters.zoo.placement import placed
from scope_core.adapters import ZooEntry

REAL = importlib.util.find_spec


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Packages that seem to be installed or not, by name."""
    known: dict[str, bool] = {"accelerate": True, "bitsandbytes": True, "flash_attn": False, "kernels": False}
    monkeypatch.setattr(placement, "find_spec", lambda name: known[name] or None)
    return known


def test_values_that_are_right_pass_unchanged(packages: dict[str, bool]) -> None:
    given = {"dtype": torch.float16, "device_map": "auto", "attn_implementation": "sdpa"}
    assert placed("acme/vlm", **given) == given
    assert placed("acme/vlm", dtype="bfloat16") == {"dtype": torch.bfloat16}
    assert placed("acme/vlm", dtype="auto", device_map={"": "cpu"}) == {"dtype": "auto", "device_map": {"": "cpu"}}
    assert placed("acme/vlm", attn_implementation="kernels-community/flash-attn") != {}
    assert placed("acme/vlm") == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dtype": "bfloat61"}, "did you mean 'bfloat16'?"),
        ({"dtype": "int8"}, "For int8 and 4 bits, give quantization"),
        ({"dtype": 16}, "dtype 16 is not a floating-point dtype"),
        ({"device_map": "atuo"}, "did you mean 'auto'?"),
        ({"device_map": "cuda:99"}, "CUDA device"),
        ({"attn_implementation": "flash_atention_2"}, "did you mean 'flash_attention_2'?"),
        ({"attn_implementation": "flash_attention_2"}, "needs the package flash-attn"),
        ({"quantization": "bnb-8"}, "did you mean 'bnb-8bit'?"),
        ({"quantization": 8}, "quantization is 8; give bnb-8bit, bnb-4bit, or a quantisation config"),
    ],
)
def test_values_that_are_wrong_are_refused(packages: dict[str, bool], given: dict[str, Any], said: str) -> None:
    with pytest.raises((scope.ZooError, scope.MissingDependencyError)) as caught:
        placed("acme/vlm", **given)
    assert said in str(caught.value)
    assert str(caught.value).startswith("'acme/vlm': ")


@pytest.mark.parametrize(
    ("name", "given"), [("accelerate", {"device_map": "cpu"}), ("bitsandbytes", {"quantization": "bnb-4bit"})]
)
def test_packages_that_are_missing_are_named(packages: dict[str, bool], name: str, given: dict[str, Any]) -> None:
    packages[name] = False
    with pytest.raises(scope.MissingDependencyError, match=f"pip install {name}"):
        placed("acme/vlm", **given)


def test_a_quantisation_whose_packages_are_missing_is_refused_by_transformers_own_check() -> None:
    config = transformers.GPTQConfig(bits=4)
    if all(REAL(name) for name in ("optimum", "gptqmodel")):
        pytest.skip("its packages are installed")
    with pytest.raises((scope.MissingDependencyError, scope.ZooError), match="this quantisation cannot be used: "):
        placed("acme/vlm", quantization=config)


def test_nothing_is_loaded_with_a_wrong_option(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = scope.default_registry()
    monkeypatch.setattr("scope_adapters.zoo.hub.from_pretrained", lambda *_, **__: pytest.fail("something was loaded"))
    for name in ("llava-1.5-7b", "clip-vit-large-patch14-336"):
        with pytest.raises(scope.ZooError, match="did you mean 'bnb-4bit'"):
            scope.load(name, quantization="bnb-4bits", registry=registry)


def test_an_option_that_an_entry_does_not_take_is_named() -> None:
    entry: ZooEntry = scope.default_registry().get("zoo", "scenes-llava").item
    with pytest.raises(scope.ZooError, match=r"entry 'scenes-llava' has no option 'dtype'. Its options: cache_dir"):
        entry.load(dtype="bfloat16")
