"""`text_facility_location`: coverage of the prompt's tokens."""

from __future__ import annotations

import numpy as np
import oracles_sets
import pytest
import torch
from fakes import built

import scope_core as scope
from scope_core import VisualTokens


class TestTextFacilityLocation:
    def case(self, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(1, 14, 6, generator=generator), torch.randn(1, 4, 6, generator=generator)

    @pytest.mark.parametrize("temperature", [0.02, 0.5, None])
    @pytest.mark.parametrize("rows", ["mean", "sum"])
    def test_gains_are_those_of_an_obvious_loop(
        self, temperature: float | None, rows: str, registry: scope.Registry
    ) -> None:
        features, text = (tensor.double() for tensor in self.case())
        part = {"name": "text_facility_location", "temperature": temperature, "rows": rows}
        coverage = built(registry, "coverage", part)
        T = oracles_sets.cosines_between(text[0], features[0])
        if temperature is not None:
            T = oracles_sets.softmax_rows(T, temperature)
        scale = 1 if rows == "mean" else len(T)
        state = coverage.start(None, VisualTokens.of(features, signals={"text.embeddings": text}))
        kept: list[int] = []
        for pick in (3, 11, 0, 7):
            f = oracles_sets.text_facility_location(T, kept)
            want = [scale * (oracles_sets.text_facility_location(T, [*kept, j]) - f) for j in range(14)]
            np.testing.assert_allclose(coverage.gain(state)[0], want, atol=1e-12)
            state = coverage.add(state, torch.tensor([pick]))
            kept.append(pick)

    def test_rows_of_zeros_are_padding(self) -> None:
        features, text = self.case(1)
        spec = {"recipe": "coverage_only", "coverage": "text_facility_location", "budget": 5}
        padded = torch.cat([text, torch.zeros(1, 3, 6)], 1)
        alone, beside = (scope.select(features, signals={"text.embeddings": t}, spec=spec) for t in (text, padded))
        assert alone.picks.equal(beside.picks)
        torch.testing.assert_close(alone.gains, beside.gains)

    def test_without_text_every_gain_is_zero(self) -> None:
        features, text = self.case(2)
        spec = {"recipe": "coverage_only", "coverage": "text_facility_location", "budget": 5}
        got = scope.select(features, signals={"text.embeddings": text * 0}, spec=spec)
        assert got.picks.tolist() == [[0, 1, 2, 3, 4]]
        assert (got.gains == 0).all()

    def test_padding_takes_no_share(self) -> None:
        features, text = self.case(3)
        wide = torch.cat([features, 9 * text], 1)  # padding that would take all of the softmax
        valid = torch.arange(18)[None] < 14
        spec = {"recipe": "coverage_only", "coverage": "text_facility_location", "budget": 5}
        alone = scope.select(features, signals={"text.embeddings": text}, spec=spec)
        beside = scope.select(wide, valid=valid, signals={"text.embeddings": text}, spec=spec)
        assert alone.picks.equal(beside.picks)
        torch.testing.assert_close(alone.gains, beside.gains)

    def test_widths_must_agree(self) -> None:
        features, _ = self.case(4)
        spec = {"recipe": "coverage_only", "coverage": "text_facility_location", "budget": 5}
        with pytest.raises(scope.TokensError, match="their last sizes must agree: set `at: projected`"):
            scope.select(features, signals={"text.embeddings": torch.randn(1, 4, 9)}, spec=spec)
