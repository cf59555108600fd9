"""Calibration files: what is written is read, and every other file is refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import scope_core as scope
from scope_core.adapters import Declaration
from scope_core.parts import Calibration

HEADS = Calibration("heads", {"name": "weighted_heads"}, "tower", "a tower of 4 layers", 7, (0.25, 0.75))
PRIOR = Calibration("prior", {"name": "cls_attention"}, "tower", "", 7, ((1.0, 2.0), (3.0, 4.0)))


def test_files_come_back_as_they_were(tmp_path: Path) -> None:
    for one in (HEADS, PRIOR):
        path = tmp_path / "c.json"
        path.write_text(one.to_text(), "utf-8")
        assert Calibration.read(str(path), one.kind) == one
    assert (HEADS.shape, PRIOR.shape) == ((2,), (2, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scope_calibration": 2}, "not one that `scope calibrate` wrote"),
        ({"kind": "both"}, "the kind is 'both'"),
        ({"saliency": "cls_attention"}, "not a table with a name"),
        ({"model": 3}, "not texts"),
        ({"images": 0}, "the number of images is 0"),
        ({"values": []}, "not a list of numbers|all weights are 0"),
        ({"values": [[1], [2]]}, "a value is not a number|not a list"),
        ({"values": [1, None]}, "not a number"),
        ({"values": [1, -1]}, "below 0"),
        ({"values": [1, float("nan")]}, "not finite"),
        ({"values": [0, 0]}, "all weights are 0"),
        ({"kind": "prior", "values": [[1, 2], [3]]}, "rows of one length"),
        ({"kind": "prior", "values": [[1, 0]]}, "scores are divided by it"),
        ({"kind": "prior", "values": [[1, 2]]}, "holds a position prior, not head weights"),
    ],
)
def test_other_files_are_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({**json.loads(HEADS.to_text()), **change}), "utf-8")
    with pytest.raises(scope.SpecError, match=message) as caught:
        Calibration.read(str(path), "heads")
    assert "c.json" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    for text, message in (
        ("", "not JSON"),
        ("[]", "not one that"),
        ('{"scope_calibration": 1}', "lacks architecture, images, kind"),
    ):
        path.write_text(text)
        with pytest.raises(scope.SpecError, match=message):
            Calibration.read(str(path), "heads")
    with pytest.raises(scope.SpecError, match=r"cannot be read: .*`scope calibrate` makes one"):
        Calibration.read(str(tmp_path / "none.json"), "heads")
    with pytest.raises(scope.SpecError, match="cannot be read"):
        Calibration.read(str(tmp_path), "heads")


def test_another_model_is_named() -> None:
    alone = Declaration("tower", {"vision": ""}, (), architecture="a tower of 4 layers")
    assert HEADS.misfit(alone) == ""
    assert "not on 'other'" in HEADS.misfit(Declaration("other", {"vision": ""}, ()))
    inside = {"vision": "", "projected": ""}
    assert HEADS.misfit(Declaration("Llava", inside, (), architecture="a tower of 4 layers")) == ""
    assert "Llava has a tower of 9" in HEADS.misfit(
        Declaration("Llava", inside, (), architecture="a tower of 9 layers")
    )
    assert HEADS.misfit(Declaration("Llava", inside, ())) == ""  # its numbers are unknown
