"""A spec that can raise in the worker is refused when the engine starts or the request comes. No engine runs here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Literal

import pytest
import torch
from test_servable import config

import scope_core as scope
from scope_adapters.serving import served as served_module
from scope_adapters.serving.group import Group
from scope_adapters.serving.receipts import Call
from scope_adapters.serving.rehearsal import extremes, worker_dtype
from scope_adapters.serving.served import Served
from scope_core.parts import ComponentSpec, Entry, SaliencySource, hookimpl

REGISTRY = scope.default_registry()
NEEDS_NO_NEGATIVES = ("graph_cut", "saturated")


def small(pruner: Any, **changes: Any) -> Any:
    """A model with 16 tokens for an image."""
    made = config("llava", pruner, **changes)
    made.vision_config.image_size = 56
    return made


def features() -> Iterator[torch.Tensor]:
    """(1, 16, 64) features such as a tower may give, written down apart from those of the rehearsal."""
    one = torch.linspace(-1, 1, 64)
    yield torch.randn(1, 16, 64, generator=torch.Generator().manual_seed(7))
    yield torch.zeros(1, 16, 64)
    yield one.expand(1, 16, 64)
    yield torch.stack([one, -one] * 8)[None]
    yield torch.eye(16, 64)[None] * 3000
    yield torch.cat([torch.zeros(15, 64), one[None]])[None]
    yield torch.cat([torch.zeros(15, 64), one[None] / 30])[None]


def fails_in_the_worker(server: Served, text: str) -> bool:
    """True if any legal features make the selection raise, with attention uniform or all on one token."""
    pruner, geometry = server.pruner(text), server.geometry(text)
    one_hot = torch.nn.functional.one_hot(torch.tensor(3), 16).float()
    shapes = {
        "vision.keys": (1, 4, 16, 16),
        "vision.cls_attention": (1, 4, 16),
        "vision.received_attention": (1, 4, 16),
    }
    for row in features():
        for attention in (torch.full((16,), 1 / 16), one_hot):
            group = Group(geometry, pruner, [server.largest])
            found = {}
            for name in pruner.needs:
                family = name.partition("[")[0]
                values = attention if "attention" in family else row.to(torch.bfloat16).float()
                found[name] = values.expand(shapes[family]) if "attention" in family else values.reshape(shapes[family])
            try:
                group.select(group.tokens(row.to(torch.bfloat16), found), Call())
            except scope.ScopeError:
                return True
    return False


@pytest.mark.parametrize("coverage", REGISTRY.names("coverage"))
def test_what_is_accepted_does_not_fail_and_what_is_refused_does(coverage: str) -> None:
    server = Served(small("scope@5"))
    for similarity in ("cosine", "dot", "spatial", "without_negatives", "row_softmax", "keys_cosine", "keys_dot"):
        request = {"coverage": coverage, "similarity": similarity}
        try:
            text = server.asked(request)
        except ValueError as error:
            refused = str(error)
            if "it fails on features" not in refused:
                continue  # refused for other reasons, such as a signal that vLLM does not give
            pruner = scope.Pruner({"recipe": "scope", "budget": 5, **request})
            assert fails_in_the_worker(server, served_module.written(pruner)), refused
            continue
        assert not fails_in_the_worker(server, text), request


@pytest.mark.parametrize("coverage", NEEDS_NO_NEGATIVES)
def test_the_refusal_says_on_what_why_and_what_would_work(coverage: str) -> None:
    server = Served(small("scope@5"))
    with pytest.raises(ValueError, match="fails on features of both signs") as caught:
        server.asked({"coverage": coverage})
    for part in (
        f"coverage '{coverage}'",
        "similarity 'cosine'",
        "would work: row_softmax, spatial, without_negatives",
    ):
        assert part in str(caught.value)
    assert server.asked({"coverage": coverage, "similarity": "without_negatives"})
    engine = Served(small({"recipe": "scope", "coverage": coverage, "budget": 5}))
    with pytest.raises(scope.SpecError, match="cannot be served by vLLM: it fails on features of both signs"):
        engine.rehearse()


def test_no_recipe_that_is_served_fails_in_the_rehearsal() -> None:
    served = []
    for name in REGISTRY.names("recipe"):
        try:
            server = Served(small({"recipe": name, "budget": 5}))
        except scope.SpecError:
            continue
        server.rehearse()
        served.append(name)
    assert {"scope", "scope@no_cls", "divprune", "visionzip", "hiprune", "tome"} <= set(served)


class FakeSpec(ComponentSpec):
    """A third-party saliency source."""

    name: Literal["acme.fake"] = "acme.fake"


@pytest.fixture
def with_score(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[scope.VisualTokens], torch.Tensor]], None]:
    """A function that registers the saliency source ``acme.fake`` with the given ``score``."""

    def install(score: Callable[[scope.VisualTokens], torch.Tensor]) -> None:
        part = type("Fake", (SaliencySource,), {"score": lambda self, tokens: score(tokens)})
        plugin = ModuleType("acme_plugin")

        def scope_saliency_sources() -> list[Entry]:
            return [Entry(FakeSpec, part, "a fake part")]

        scope_saliency_sources.__module__ = "acme_plugin"
        plugin.scope_saliency_sources = hookimpl(scope_saliency_sources)  # type: ignore[attr-defined]
        registry = REGISTRY.with_module(plugin)
        monkeypatch.setattr(served_module, "default_registry", lambda: registry)

    return install


def test_errors_of_any_kind_are_refused_in_words(with_score: Any) -> None:
    def score(tokens: scope.VisualTokens) -> torch.Tensor:
        return (
            {}[int(tokens.features.abs().sum() == 0)] if bool((tokens.features == 0).all()) else tokens.features[..., 0]
        )

    with_score(score)
    with pytest.raises(ValueError, match=r"fails on features that are all 0 .*KeyError: 1"):
        Served(small("scope@5")).asked({"saliency": "acme.fake", "combiner": "saliency_only"})


def test_the_features_are_as_precise_as_the_workers(with_score: Any) -> None:
    seen = set()

    def score(tokens: scope.VisualTokens) -> torch.Tensor:
        seen.add(tokens.features.dtype)
        return tokens.features[..., 0]

    with_score(score)
    Served(small({"saliency": "acme.fake", "combiner": "saliency_only", "budget": 5, "dtype": "as_is"})).rehearse()
    assert torch.bfloat16 in seen
    assert seen <= {torch.bfloat16, torch.float64}  # equal scores are looked at in float64 as well
    for written, wanted in (("float16", torch.float16), ("bfloat16", torch.bfloat16), ("float32", torch.bfloat16)):
        made = small("scope@5")
        made.dtype = getattr(torch, written)
        assert worker_dtype(made) == wanted


def test_every_grid_is_tried(with_score: Any) -> None:
    grids = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
    seen = set()

    def score(tokens: scope.VisualTokens) -> torch.Tensor:
        seen.add(tokens.shape[1])
        return tokens.features[..., 0]

    with_score(score)
    spec = {"saliency": "acme.fake", "combiner": "saliency_only", "budget": 5}
    server = Served(config("llava_next", {**spec, "adapter": {"name": "llava_next", "newlines": "drop"}}))
    server.rehearse()
    geometry = server.geometry(server.default)
    counts = {geometry.layout([size]).images[0].tokens for size in extremes(geometry)}
    assert seen - {512, 513} == counts  # of equal scores, the first are looked at again
    for side in range(1, 3000, 37):  # no image has fewer or more tokens than these
        for size in ((side, 1), (1, side), (side, 3000), (3000, side), (side, side)):
            assert min(counts) <= geometry.layout([size]).images[0].tokens <= max(counts), size
    assert {tuple(size) for size in grids} <= set(extremes(geometry))


def test_requests_wait_for_a_rehearsal_only_once_and_only_for_other_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """All images of a server pass through one thread, so that a rehearsal holds up everybody's."""
    server, tried = Served(small("scope@9")), []
    rehearse = served_module.rehearse
    monkeypatch.setattr(served_module, "rehearse", lambda *given: (tried.append(given), rehearse(*given)))
    for budget in (5, 0.25, "scope@3", {"budget": {"name": "tokens", "keep": 4}}):
        assert server.asked(budget)
    assert not tried
    for _ in range(3):
        assert server.asked("divprune@5")
        with pytest.raises(ValueError, match="it fails on features"):
            server.asked({"coverage": "graph_cut"})
    assert len(tried) == 2


@pytest.mark.parametrize(
    "value", [10**400, float("nan"), float("inf"), {"registry": 1}, {"a": "b" * 10**6}, {"spec": 1}, "\ud800", {"": {}}]
)
def test_whatever_a_client_sends_is_refused_in_words(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^visual_pruner: ") as caught:
        Served(small("scope@9")).asked(value)
    assert len(str(caught.value)) < 4000
