"""What lmms-eval's model is watched for; its command line is run in tests/evaluation."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

import scope_core as scope
from adapters.models import PATCHES, PLACEHOLDER, llava
from scope_adapters.evaluation import errors, models
from scope_adapters.evaluation.watched import Watched, check_counts
from scope_core import Layout, Pruner


def call(images: int = 1, seed: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    ids = [1, *([PLACEHOLDER] * PATCHES * images), *range(5, 12)]
    pixels = torch.randn(images, 3, 28, 28, generator=generator)
    made = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.int64)}
    return {**made, **({"pixel_values": pixels} if images else {}), "do_sample": False, "max_new_tokens": 4}


@pytest.mark.parametrize("spec", ["scope@5", "random@5", "downsample@4", "visionzip@9", "fastv@5", "prumerge@7"])
def test_answers_are_those_of_attach_and_tokens_are_counted(spec: str) -> None:
    with Pruner(spec).attach(llava()) as pruning:
        wanted = pruning.model.generate(**call(2))
        kept = (pruning.receipt.later[-1] if pruning.receipt.later else pruning.receipt).kept
    watched = Watched(llava(), Pruner(spec))
    assert torch.equal(watched.generate(**call(2)), wanted)
    watched.generate(**call(1, seed=1))
    watched.generate(**call(0))
    assert (watched.calls, watched.images, watched.tokens) == (3, 3, 3 * PATCHES)
    assert watched.kept == kept * 3 // 2
    assert models.totals(watched)["spec"] == Pruner(spec).label


def test_no_pruner_answers_as_the_model_does() -> None:
    watched = Watched(llava(), None)
    assert torch.equal(watched.generate(**call()), llava().generate(**call()))
    assert (watched.calls, watched.images, watched.tokens, watched.kept) == (1, 1, 0, 0)
    assert watched.dtype == torch.float32
    assert watched(input_ids=call(0)["input_ids"]).logits.shape[:2] == (1, 8)


def test_errors_end_the_run() -> None:
    watched = Watched(llava(), Pruner("scope@17"))
    with pytest.raises(SystemExit, match=r"prompt 1: BudgetError: .*keeps 17 .* 16 tokens"):
        watched.generate(**call())
    with pytest.raises(SystemExit, match="while reading: ValueError: no"), errors.stopping("while reading"):
        raise ValueError("no")
    with pytest.raises(KeyboardInterrupt), errors.stopping("while reading"):
        raise KeyboardInterrupt
    with pytest.raises(errors.EvaluationStopped, match=r"AssertionError\(\)") as caught, errors.stopping("x"):
        raise AssertionError
    assert isinstance(caught.value.__cause__, AssertionError)
    assert not isinstance(caught.value, Exception), "lmms-eval would swallow it"


def detached(watched: Watched) -> None:
    watched.attachment.detach()


def wrapped_over(watched: Watched) -> None:
    plain = type(watched.inner).generate
    watched.inner.generate = lambda **kwargs: plain(llava(), **kwargs)


def answer_alone(watched: Watched) -> None:
    inner = watched.inner.generate
    watched.inner.generate = lambda **kwargs: inner(**kwargs)[:, kwargs["input_ids"].shape[1] :]


def other_prompt(watched: Watched) -> None:
    inner = watched.inner.generate
    watched.inner.generate = lambda **kwargs: inner(**kwargs).flip(1)


def fewer_placeholders(watched: Watched) -> None:
    watched.attachment.shorten = lambda ids, fill=0.0: ids[:, -3:]


def other_plan(watched: Watched) -> None:
    watched.attachment.plan = lambda sizes: Pruner("scope@4").plan([PATCHES] * len(sizes))


def other_images(watched: Watched) -> None:
    watched.attachment.plan = lambda sizes: Pruner("scope@5").plan([PATCHES] * (len(sizes) + 1))


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (detached, "0 calls were pruned; the pruner was detached"),
        (wrapped_over, "0 calls were pruned; something else wraps generate"),
        (answer_alone, "the answer cannot be found"),
        (other_prompt, "the answer cannot be found"),
        (fewer_placeholders, "5 image tokens were kept, but 0 placeholders"),
        (other_plan, "image 0 should keep 4 of 16 tokens, but kept 5"),
        (other_images, "the call has 2 images, but 1 were pruned"),
    ],
)
def test_a_run_that_does_not_prune_is_noticed(break_it: Callable[[Watched], None], said: str) -> None:
    watched = Watched(llava(), Pruner("scope@5"))
    watched.generate(**call())
    break_it(watched)
    with pytest.raises(SystemExit, match=said):
        watched.generate(**call())


def test_a_prompt_that_comes_again_is_noticed() -> None:
    """lmms-eval's simple model keeps the inputs of the sample before where one has no image."""
    watched, inputs = Watched(llava(), None), call()
    watched.generate(**inputs)
    with pytest.raises(SystemExit, match="same input_ids came a second time"):
        watched.generate(**inputs)


def test_counts_are_compared_with_the_plan() -> None:
    adaptive = Pruner({"recipe": "scope", "budget": "iqr"}).plan([16, 16])
    assert (adaptive.exact, adaptive.images) == (False, (16, 16))
    check_counts(adaptive, [(16, 3), (16, 16)])
    with pytest.raises(scope.AttachError, match="image 1 should keep at most 16 of 16 tokens, but kept 17"):
        check_counts(adaptive, [(16, 3), (16, 17)])
    exact = {"recipe": "scope", "partition": "prompt", "budget": {"name": "tokens", "keep": 8, "per": "total"}}
    shared = Pruner(exact).plan(Layout.of([16, 16]))
    check_counts(shared, [(16, 3), (16, 5)])
    with pytest.raises(scope.AttachError, match="8 tokens in all, but kept 7"):
        check_counts(shared, [(16, 3), (16, 4)])
    with pytest.raises(scope.AttachError, match="image 1 has 16 tokens by its size, but 12 were pruned"):
        check_counts(shared, [(16, 3), (12, 5)])


@pytest.mark.parametrize("given", [None, "none", "None", ""])
def test_no_pruner_is_said_in_several_ways(given: str | None) -> None:
    assert models.spec_of(given) is None


def test_specs_are_read_as_lmms_eval_hands_them_over() -> None:
    assert models.spec_of("scope@64") == "scope@64"
    assert models.spec_of('{"recipe": "scope", "budget": 64}') == {"recipe": "scope", "budget": 64}
    assert models.spec_of({"recipe": "scope"}) == {"recipe": "scope"}
    with pytest.raises(scope.SpecError, match="not JSON"):
        models.spec_of("{recipe: scope}")
    with pytest.raises(scope.SpecError, match="pruner=64"):
        models.spec_of(64)


def test_without_lmms_eval_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    models.extended.cache_clear()
    for name in ("lmms_eval", *(name for name in sys.modules if name.startswith("lmms_eval."))):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SystemExit, match=r"pip install 'scope-core\[lmms\]'"):
        _ = models.ScopeLlavaHf
    with pytest.raises(AttributeError, match="ScopeLlava2"):
        _ = models.ScopeLlava2
