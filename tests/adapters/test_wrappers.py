"""Models that other people wrap, copy or compile, before or after a pruner is attached."""

from __future__ import annotations

import copy
import functools
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import offers
import pytest
import torch
from torch import nn
from transformers import CompileConfig

import scope_core as scope
from adapters.guests import keeping
from adapters.models import ONE, TWO, batch, llava
from adapters.snapshot import differences, snapshot

GREEDY = {"max_new_tokens": 5, "do_sample": False}


def refuse(model: Any, *words: str) -> None:
    with pytest.raises(scope.AttachError) as caught:
        keeping(4).attach(model)
    for word in words:
        assert word in str(caught.value), caught.value


class Wrapped(nn.Module):
    """PEFT's shape: the model is inside, and its attributes show through."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def get_base_model(self) -> nn.Module:
        return self.inner

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.inner(*args, **kwargs)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        return self.inner.generate(*args, **kwargs)


def test_peft_style_wrapper() -> None:
    inner, given = llava(), batch(*TWO)
    outer = Wrapped(inner)
    with keeping(4).attach(inner):
        wanted = inner.generate(**given.inputs, **GREEDY)
    before = snapshot(outer)
    with keeping(4).attach(outer) as pruning:
        assert torch.equal(outer.generate(**given.inputs, **GREEDY), wanted)
        assert pruning.declaration.model == "LlavaForConditionalGeneration"
        refuse(inner, "Wrapped", "scope.detach(model)")
        refuse(outer, "scope.detach(model)")
        assert torch.equal(inner.generate(**given.inputs, **GREEDY), wanted)
    assert differences(before, snapshot(outer)) == []
    with keeping(4).attach(inner):
        refuse(outer, "scope.detach(model)")


def test_virtual_tokens_of_peft_are_refused_before_anything_is_hooked() -> None:
    """Prompt tuning hides the ids behind embeddings, prefix tuning fills the cache."""
    outer = Wrapped(llava())
    outer.active_peft_config = SimpleNamespace(is_prompt_learning=True)
    before = snapshot(outer)
    refuse(outer, "Wrapped with SimpleNamespace puts virtual tokens", "LoRA", "model.get_base_model()")
    assert differences(before, snapshot(outer)) == []
    keeping(4).attach(outer.get_base_model()).detach()
    outer.active_peft_config.is_prompt_learning = False
    keeping(4).attach(outer).detach()


@pytest.mark.parametrize("told", [True, False], ids=["wraps", "bare"])
def test_wrapped_before_us(told: bool) -> None:
    """What accelerate does; ``bare`` wrappers even hide the signature."""
    model, given = llava(), batch(*TWO)
    with torch.no_grad(), keeping(4).attach(model):
        wanted = model(given.ids, given.pixels, given.mask).logits
    inner, calls = model.forward, []

    def theirs(*args: Any, **kwargs: Any) -> Any:
        calls.append(sorted(kwargs))
        return inner(*args, **kwargs)

    model.forward = functools.wraps(inner)(theirs) if told else theirs
    hooked = model.forward
    with torch.no_grad(), keeping(4).attach(model):
        assert torch.equal(model(given.ids, given.pixels, given.mask).logits, wanted)
    assert "pixel_values" not in calls[0]  # they call the model of the shortened prompt
    assert vars(model)["forward"] is hooked


def test_wrapped_after_us() -> None:
    """They hold our method; detached, it passes everything on, and attaching again prunes once."""
    model, given = llava(), batch(*TWO)
    plain = model.generate(**given.inputs, **GREEDY)
    pruning = keeping(4).attach(model)
    ours = model.forward
    model.forward = functools.wraps(ours)(lambda *args, **kwargs: ours(*args, **kwargs))
    theirs = model.forward
    pruned = model.generate(**given.inputs, **GREEDY)
    pruning.detach()
    assert model.forward is theirs
    assert torch.equal(model.generate(**given.inputs, **GREEDY), plain)
    with keeping(4).attach(model) as again:
        assert torch.equal(model.generate(**given.inputs, **GREEDY), pruned)
        with torch.no_grad():
            assert model(**given.inputs).logits.shape[1] == given.length - 2 * 12
    assert again.receipt.calls == 2
    assert model.forward is theirs


@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_a_copy_of_an_attached_model_is_its_own_and_not_pruned(way: str) -> None:
    model, given = llava(), batch(*TWO)
    plain = llava().generate(**given.inputs, **GREEDY)
    with keeping(4).attach(model) as pruning:
        twin = copy.deepcopy(model) if way == "deepcopy" else pickle.loads(pickle.dumps(model))
        assert torch.equal(twin.generate(**given.inputs, **GREEDY), plain)
        with torch.no_grad():
            twin.lm_head.weight.zero_()
            assert twin(**given.inputs).logits.abs().max() == 0
            assert model(**given.inputs).logits.abs().max() > 0
        with keeping(4).attach(twin):
            pass
    assert pruning.receipt.calls == 1


@offers.traced_context_variables()
@offers.compiled_models()
def test_compiled_decoding_steps() -> None:
    """What generate does by itself with a static cache on accelerators; no step may fall out of the graph."""
    model, given = llava(), batch(*ONE)
    config = CompileConfig(backend="eager", mode=None, fullgraph=True)
    config._compile_all_devices = True
    with keeping(4).attach(model):
        wanted = model.generate(**given.inputs, **GREEDY)
        compiled = model.generate(**given.inputs, **GREEDY, cache_implementation="static", compile_config=config)
        assert torch.equal(compiled, wanted)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    torch.compiler.reset()


def test_data_parallel_wrappers_are_pruned_through_their_module(tmp_path: Path) -> None:
    """What the hint of attach says to do."""
    inner, given = llava(), batch(*TWO)
    with torch.no_grad(), keeping(4).attach(inner):
        wanted = inner(**given.inputs).logits
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        for wrapped in (nn.DataParallel(inner), nn.parallel.DistributedDataParallel(inner)):
            with torch.no_grad(), keeping(4).attach(wrapped.module) as pruning:
                assert torch.equal(wrapped(**given.inputs).logits, wanted)
            assert pruning.receipt.calls == 1
    finally:
        torch.distributed.destroy_process_group()


@offers.compiled_models()
def test_a_cold_compiled_model() -> None:
    """The first call of a process is compiled: kernels of the selection are compiled inside of it."""
    program = (
        "import torch; from adapters.guests import keeping; from adapters.models import ONE, batch, llava\n"
        "model, given = llava(), batch(*ONE)\n"
        "compiled = torch.compile(model, backend='eager')\n"
        "with torch.no_grad(), keeping(4).attach(compiled) as pruning:\n"
        "    first = compiled(**given.inputs).logits\n"
        "assert pruning.receipt.calls == 1\n"
        "with torch.no_grad(), keeping(4).attach(model):\n"
        "    torch.testing.assert_close(first, model(**given.inputs).logits)\n"
    )
    tests = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


@offers.compiled_models()
def test_compiled_model() -> None:
    """Through the wrapper that torch.compile makes; "eager" compiles nothing but traces all the same."""
    model, given = llava(), batch(*ONE)
    with torch.no_grad(), keeping(4).attach(model):
        wanted = model(**given.inputs).logits
    compiled = torch.compile(model, backend="eager")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.no_grad(), keeping(4).attach(compiled) as pruning:
            torch.testing.assert_close(compiled(**given.inputs).logits, wanted)
        assert pruning.receipt.calls == 1
    assert "forward" not in vars(model)
    torch.compiler.reset()
