"""A part that fails on some images only: those keep evenly spaced tokens, the others keep theirs. No engine."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_rehearsal import small, with_score  # noqa: F401
from test_servable import DROP, config

import scope_core as scope
from scope_adapters.serving import fallback, metrics, pace, receipts
from scope_adapters.serving.group import Group
from scope_adapters.serving.served import Served

FAULTY = 7.0
"""A number in the features of an image that the fake part fails on."""
SPEC = {"recipe": "scope", "saliency": "acme.fake", "combiner": "saliency_only", "budget": 5}


def raises(tokens: scope.VisualTokens) -> torch.Tensor:
    if bool((tokens.features == FAULTY).any()):
        raise KeyError("a picture it does not like")
    return tokens.features[..., 0]


def gives_nan(tokens: scope.VisualTokens) -> torch.Tensor:
    faulty = (tokens.features == FAULTY).flatten(1).any(1)
    return tokens.features[..., 0].masked_fill(faulty[:, None], torch.nan)


def has_a_wrong_shape(tokens: scope.VisualTokens) -> torch.Tensor:
    return tokens.features[..., 0] if not bool((tokens.features == FAULTY).any()) else tokens.features[0]


class Wordless(Exception):
    def __str__(self) -> str:
        raise ValueError("not even a message")


def raises_without_words(tokens: scope.VisualTokens) -> torch.Tensor:
    if bool((tokens.features == FAULTY).any()):
        raise Wordless
    return tokens.features[..., 0]


def raises_at_length(tokens: scope.VisualTokens) -> torch.Tensor:
    if bool((tokens.features == FAULTY).any()):
        raise RuntimeError("many words " * 10**5)
    return tokens.features[..., 0]


KINDS = {
    raises: "KeyError", gives_nan: "TokensError", has_a_wrong_shape: "PluginOutputError",
    raises_without_words: "Wordless", raises_at_length: "RuntimeError",
}  # fmt: skip


def selected(server: Served, sizes: list[Any], faulty: set[int]) -> tuple[Any, Any, receipts.Call, Group]:
    """What `fallback.select` gives for random images, some of which the fake part fails on; and their features."""
    geometry, pruner = server.geometry(server.default), server.pruner(server.default)
    group, call = Group(geometry, pruner, sizes), receipts.Call()
    chance = torch.Generator().manual_seed(0)
    tiles = [geometry.tiles(size) for size in sizes]
    made = [torch.randn(count, geometry.patches, 64, generator=chance) for count in tiles]
    for number in faulty:
        made[number][0, 0, 1] = FAULTY
    rows, order, failures = fallback.select(group, sizes, torch.cat(made), {}, call)
    call.failures += failures.values()
    assert set(failures) == faulty
    assert len(order) == sum(group.promised)
    padded = torch.cat([rows, torch.full((1, 64), torch.inf)])[order]
    return list(torch.split(padded, group.promised)), made, call, group


@pytest.mark.parametrize("score", KINDS, ids=lambda score: score.__name__)
def test_images_that_a_part_fails_on_keep_the_uniform_grid(with_score: Any, score: Callable[..., Any]) -> None:  # noqa: F811
    with_score(score)
    server, size = Served(small(SPEC)), (56, 56)
    server.rehearse()
    rows, made, call, _ = selected(server, [size] * 4, {1, 3})
    grid = scope.Pruner("uniform_grid@5").select(made[0], grid=(4, 4)).kept[0]
    for number in range(4):
        best = made[number][0, :, 0].topk(5).indices.sort().values
        assert torch.equal(rows[number], made[number][0][grid if number in (1, 3) else best])
    assert (call.images, call.tokens, call.kept) == (4, 64, 20)
    assert {(f.part, f.reason) for f in call.failures} == {("saliency 'acme.fake'", KINDS[score])}
    if score is raises:
        assert "a picture it does not like" in call.failures[0].text
    assert max(len(failure.text) for failure in call.failures) < 600


def test_tiles_and_newlines_stay_in_their_places(with_score: Any) -> None:  # noqa: F811
    """LLaVA-NeXT: images of different sizes, and rows between which newlines stand."""
    with_score(raises)
    sizes = [(300, 700), (336, 336), (900, 300)]
    server = Served(config("llava_next", SPEC))
    sound, _, _, group = selected(server, sizes, set())
    mixed, again, _, _ = selected(server, sizes, {1})
    assert all(torch.equal(sound[number], mixed[number]) for number in (0, 2))
    newlines = [int(rows.isinf().all(1).sum()) for rows in mixed]
    assert newlines == [image.separators for image in group.layout.images]
    plain = Group(server.geometry(server.default), scope.Pruner("uniform_grid@5"), [sizes[1]])
    rows, order = plain.select(plain.tokens(again[1], {}), receipts.Call())
    assert torch.equal(mixed[1], torch.cat([rows, torch.full((1, 64), torch.inf)])[order])


def test_towers_that_overflow_give_the_promised_rows(with_score: Any) -> None:  # noqa: F811
    """The numbers are the tower's, as without pruning; the failure is told all the same."""
    with_score(raises)
    for keep in (5, 16):
        server = Served(small({**SPEC, "budget": keep}))
        group = Group(server.geometry(server.default), server.pruner(server.default), [(56, 56)])
        features = torch.full((1, 16, 64), torch.nan)
        call = receipts.Call()
        rows, order, failures = fallback.select(group, [(56, 56)], features, {}, call)
        assert (len(rows), len(order)) == (keep, keep)
        assert "finite" in failures[0].text
        assert (call.images, call.tokens, call.kept) == (1, 16, keep)


def test_failures_are_counted_and_logged_at_a_limited_rate(
    with_score: Any,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_score(raises)
    monkeypatch.setattr(pace, "_last", {})
    monkeypatch.setattr(receipts.log, "propagate", True)
    monkeypatch.setattr(logging.getLogger("vllm"), "propagate", True)
    server = Served(small(SPEC))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            _, _, call, _ = selected(server, [(56, 56)] * 4, {0, 1, 2})
            counts = metrics.Counts()
            counts.add(call.close("a request's spec"), {})
            metrics.record(str(tmp_path), counts)
    (line,) = [record.getMessage() for record in caplog.records]
    for part in ("saliency 'acme.fake'", "evenly spaced", "KeyError", "a picture it does not like"):
        assert part in line
    pace._last.clear()
    call.close("a spec", strict=True)
    assert "whose requests end with an error" in caplog.text
    sums = metrics.totals([tmp_path])
    assert sums.fallbacks == {("saliency 'acme.fake'", call.failures[0].distribution, "KeyError"): 6}
    assert {spec: numbers[:3] for spec, numbers in sums.specs.items()} == {"request": [8, 128, 40]}


def test_the_recipe_of_the_fallback_is_servable_everywhere() -> None:
    for spec in ("uniform_grid@5", {"recipe": "uniform_grid", "budget": 5, "adapter": DROP}):
        assert Served(config("llava_next", spec)).default
    assert json.loads(Served(small("uniform_grid@5")).default)["recipe"] == fallback.GRID
