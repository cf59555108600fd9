"""`rotary_axis`: the position without rotation first, by cosines; a quarter turn by sines."""

from __future__ import annotations

import math

import torch
from fakes import built

import scope_core as scope
from scope_core import VisualTokens


def test_places_of_no_turn_and_of_a_quarter(registry: scope.Registry) -> None:
    angles = torch.linspace(0, math.pi, 9, dtype=torch.float64)[:, None].expand(9, 4)
    signals = {"decoder.rotary_cosines[2]": angles.cos()[None], "decoder.rotary_sines[2]": angles.sin()[None]}
    tokens = VisualTokens.of(torch.ones(1, 9, 2).double(), signals=signals)
    for axis, best in (("cosine", 0), ("sine", 4)):
        part = built(registry, "saliency", {"name": "rotary_axis", "axis": axis, "layer": 2})
        assert part.needs == {f"decoder.rotary_{axis}s[2]"}
        assert int(part.score(tokens).argmax()) == best
