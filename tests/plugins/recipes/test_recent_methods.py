"""Methods of 2025 and 2026 that need no language model, against oracles in float64: the same picks in the same order.

The oracles were written from the formulas, one image at a time, in numpy; ties go to the lowest index.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import Photos
from fakes import built

import scope_core as scope
from scope_core import VisualTokens

Array = np.ndarray
SIDE = 24


def cosines(x: Array) -> Array:
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return unit @ unit.T


def ranked(score: Array) -> list[int]:
    return sorted(range(len(score)), key=lambda i: (-score[i], i))


def adts(x: Array, attention: Array, keep: int) -> list[int]:
    """The first pick's distance is that to its nearest neighbour."""
    distance = 1 - cosines(x)
    np.fill_diagonal(distance, np.inf)
    picks = [int((distance.min(0) * attention).argmax())]
    while len(picks) < keep:
        score = distance[picks].min(0) * attention
        score[picks] = -1
        picks.append(int(score.argmax()))
    return picks


def gprune(x: Array, keep: int) -> list[int]:
    edges = cosines(x) >= 0.5
    passed = np.where(edges, np.exp((cosines(x) - 1) / 0.03), 0)
    passed /= passed.sum(1, keepdims=True)
    return ranked(np.linalg.norm(x, axis=1) @ np.linalg.matrix_power(passed, 5) / edges.sum(1))[:keep]


def otprune(x: Array, keep: int) -> list[int]:
    channels = x / np.linalg.norm(x, axis=0)
    gram = channels @ channels.T
    kernel = np.eye(len(x)) + 0.01 * gram @ gram.T
    picks: list[int] = []
    while len(picks) < keep:
        gains = np.diag(kernel).copy()
        if picks:
            across = kernel[picks]
            gains -= (across * np.linalg.solve(kernel[np.ix_(picks, picks)], across)).sum(0)
        gains[picks] = -1
        picks.append(int(gains.argmax()))
    return picks


def reconstruction(x: Array, basis: int = 10) -> tuple[list[int], Array]:
    """Basis tokens in order, and the distance of every token from its ridge regression on them."""
    nearest, found = np.linalg.norm(x - x.mean(0), axis=1), []
    for _ in range(basis):
        found.append(int(nearest.argmax()))
        distance = np.linalg.norm(x - x[found[-1]], axis=1)
        nearest = distance if len(found) == 1 else np.minimum(nearest, distance)
    weights = np.linalg.solve(x[found] @ x[found].T + 1e-5 * np.eye(basis), x[found] @ x.T)
    return found, np.linalg.norm(x - weights.T @ x[found], axis=1)


def apet(x: Array, keep: int) -> list[int]:
    found, errors = reconstruction(x)
    return found[:keep] + [token for token in ranked(errors) if token not in found][: max(keep - len(found), 0)]


def smoothed(values: Array, side: int) -> Array:
    """A 3 x 3 Gaussian of deviation 1 over the grid, which is mirrored at its border."""
    padded = np.pad(values.reshape(side, side), 1, mode="reflect")
    window = np.exp(-(np.add.outer(np.arange(-1, 2) ** 2, np.arange(-1, 2) ** 2)) / 2)
    window /= window.sum()
    return np.array([(padded[r : r + 3, c : c + 3] * window).sum() for r in range(side) for c in range(side)])


def relevance(text: Array, words: Array) -> Array:
    """Half of the whole text's, half of the words' of low entropy; ``text`` is (T, N), ``words`` (L, N), cosines."""
    logits = -100 * words
    share = np.exp(logits - logits.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    entropy = -(share * np.log(share + 1e-300)).sum(1)
    kept = ranked(-entropy)[: max(len(words) // 2, 1)]
    weights = np.exp(-(entropy[kept] - entropy[kept].min()) / 0.01)
    return 0.5 * (-text).mean(0) + 0.5 * (weights / weights.sum()) @ -words[kept]


def eadp(x: Array, text: Array, words: Array, keep: int, side: int = SIDE) -> list[int]:
    raw = relevance(text, words)
    weights = smoothed((raw - raw.min() + 1e-6) / (raw.max() - raw.min()), side)
    likeness, covered, picks = (1 + cosines(x)) / 2, np.zeros(len(x)), []
    while len(picks) < keep:
        gains = weights @ np.maximum(likeness - covered[:, None], 0)
        gains[picks] = -1
        picks.append(int(gains.argmax()))
        covered = np.maximum(covered, likeness[:, picks[-1]])
    return picks


def cases(photos: Photos) -> list[tuple[Array, Array, Array, Array]]:
    """Features, attention, similarities to two chunks of text and to nine words: photographs, and random numbers."""
    found = [(features, attention) for features, attention in zip(photos.features, photos.saliency, strict=True)]
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(576, 40, generator=generator) + torch.randn(1, 40, generator=generator)
        found.append((drawn, torch.rand(576, generator=generator) ** 3))
    made = []
    for seed, (features, attention) in enumerate(found):
        random = np.random.default_rng(seed)
        text, words = random.normal(size=(2, 576)) / 20 + 0.2, random.normal(size=(9, 576)) / 20 + 0.1
        made.append((features.double().numpy(), attention.double().numpy(), text, words))
    return made


@pytest.mark.parametrize("keep", [16, 64])
def test_picks_are_the_oracles(keep: int, photo_features: Photos) -> None:
    for x, attention, text, words in cases(photo_features):
        signals = {
            "vision.cls_attention[-2]": attention[None, None],
            "clip.text_similarity": text[None],
            "clip.word_similarity": words[None],
        }

        def picks(
            recipe: str, x: Array = x, signals: dict[str, Array] = signals, keep: int = keep, **more: Any
        ) -> list[int]:
            given = {name: torch.tensor(array) for name, array in signals.items()}
            spec = {"recipe": recipe, "budget": keep, "dtype": "float64", **more}
            return scope.select(torch.tensor(x), signals=given, grid=(SIDE, SIDE), spec=spec).picks[0].tolist()

        assert picks("adts") == adts(x, attention, keep)
        assert picks("gprune") == gprune(x, keep)
        assert picks("otprune") == otprune(x, keep)
        assert picks("apet") == apet(x, keep)
        assert picks("eadp") == eadp(x, text, words, keep)


def test_apet_merges_the_rest_by_cosine(photo_features: Photos) -> None:
    x = photo_features.features[0].double()
    got = scope.select(x, spec={"recipe": "apet", "budget": 16, "dtype": "float64"})
    kept = got.rows[0].tolist()
    home = cosines(x.numpy())[:, kept].argmax(1)
    home[kept] = range(16)
    wanted = np.array([x.numpy()[home == row].mean(0) for row in range(16)])
    np.testing.assert_allclose(got.merge(x[None])[0], wanted, rtol=1e-9, atol=1e-9)


class TestWrappers:
    def tokens(self, **more: Any) -> VisualTokens:
        features = torch.randn(1, 36, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        return VisualTokens.of(features, grid=(6, 6), **more)

    def test_smoothed_is_a_mean_over_the_window(self, registry: scope.Registry) -> None:
        part = built(registry, "saliency", {"name": "smoothed", "of": "feature_norm"})
        tokens = self.tokens()
        wanted = smoothed(tokens.features[0].norm(dim=1).numpy(), 6)
        np.testing.assert_allclose(part.score(tokens)[0], wanted, rtol=1e-12)

    def test_smoothed_leaves_out_what_is_not_there(self, registry: scope.Registry) -> None:
        """A hole and another tile change nothing of a plane; tokens without a place stay as they are."""
        tokens = self.tokens(valid=torch.arange(36)[None] != 14, tile=(torch.arange(36) >= 18).long()[None])
        flat = built(registry, "saliency", {"name": "smoothed", "of": "uniform", "size": 5})
        torch.testing.assert_close(flat.score(tokens)[tokens.valid], torch.ones(35, dtype=torch.float64))
        norms = built(registry, "saliency", {"name": "smoothed", "of": "feature_norm"})
        placeless = VisualTokens.of(tokens.features)
        assert norms.score(placeless).equal(tokens.features.norm(dim=2))
        with pytest.raises(scope.SpecError, match="odd number"):
            scope.Pruner({"recipe": "scope", "saliency": {"name": "smoothed", "of": "uniform", "size": 4}})

    def test_debiased_divides_by_the_prior_of_each_place(self, registry: scope.Registry) -> None:
        prior = [[1.0, 2.0], [3.0, 6.0]]
        part = built(registry, "saliency", {"name": "debiased", "of": "feature_norm", "prior": prior})
        tokens = self.tokens()

        def between(at: float) -> tuple[int, float]:  # centres of cells: six lie over two
            place = min(max((at + 0.5) / 3 - 0.5, 0), 1)
            return (0, place) if place < 1 else (0, 1.0)

        for token, got in enumerate(part.score(tokens)[0].tolist()):
            (_, down), (_, right) = between(token // 6), between(token % 6)
            top, low = (row[0] * (1 - right) + row[1] * right for row in prior)
            expected = float(tokens.features[0, token].norm()) / (top * (1 - down) + low * down)
            assert got == pytest.approx(expected, rel=1e-9)

    @pytest.mark.parametrize(
        ("prior", "message"), [([[1.0], [1.0, 2.0]], "one length"), ([[0.0]], "greater than 0"), ([], "at least 1")]
    )
    def test_a_prior_that_cannot_divide_is_refused(self, prior: Any, message: str, registry: scope.Registry) -> None:
        with pytest.raises(scope.SpecError, match=message):
            scope.Pruner({"recipe": "scope", "saliency": {"name": "debiased", "of": "uniform", "prior": prior}})
        part = built(registry, "saliency", {"name": "debiased", "of": "uniform", "prior": [[1.0]]})
        with pytest.raises(scope.TokensError, match="places in a grid"):
            part.score(VisualTokens.of(torch.ones(1, 4, 2)))
