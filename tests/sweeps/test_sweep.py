"""`scope.sweep`: specs, budgets and options on the same images; what it measures is what single runs give."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from adapters.models import batch, llava

import scope_core as scope

FEATURES = torch.randn(2, 40, 8, generator=torch.Generator().manual_seed(0))
SALIENCY = torch.rand(2, 40, generator=torch.Generator().manual_seed(1))
TOKENS = scope.VisualTokens.of(FEATURES, saliency=SALIENCY)


def test_each_row_is_what_a_single_run_gives() -> None:
    table = scope.sweep(["scope", "coverage_only"], [4, 10], tokens=TOKENS, repeats=1, thetas=(0.3, 0.6))
    assert [row["spec"] for row in table] == [
        name for name in ("scope@4", "scope@10", "coverage_only@4", "coverage_only@10") for _ in range(2)
    ]
    for row in table:
        one = scope.select(FEATURES, saliency=SALIENCY, spec=row["spec"])
        assert row["kept"] == one.counts[row["image"]]
        assert row["coverage 0.6"] == pytest.approx(float(one.coverage(0.6)[row["image"]]))
        assert row["select_ms"] > 0
        assert row["error"] == ""
    assert len(table) == 8
    assert repr(table) == "Sweep(8 rows of 4 specs)"


def test_options_have_columns_and_labels_of_their_own() -> None:
    table = scope.sweep(
        "scope", [4], options={"combiner.alpha": [0.5, 1, 2], "order": ["raster", "picks"]}, tokens=TOKENS
    )
    means = table.means()
    assert [(row["combiner.alpha"], row["order"]) for row in means][:4] == [
        (0.5, None), (0.5, "picks"), (1, None), (1, "picks"),
    ]  # fmt: skip
    assert len({row["spec"] for row in means}) == 6
    assert len({row["method"] for row in means}) == 6
    assert means[1]["spec"] == "scope+alpha=0.5+order=picks@4"
    assert means[0]["coverage 0.7"] == pytest.approx(
        sum(row["coverage 0.7"] for row in table if row["spec"] == means[0]["spec"]) / 2
    )
    differing = scope.sweep([{"recipe": "scope", "budget": 4, "coverage": "log_det"}, "scope@4"], tokens=TOKENS)
    assert [row["coverage"] for row in differing.means()] == ["log_det", "facility_location"]


def test_a_spec_that_cannot_run_has_a_row_with_its_reason() -> None:
    then = {"recipe": "coverage_only", "budget": 4, "then": [{"at": "decoder[2]", "budget": 2}]}
    with pytest.warns(UserWarning, match=r"2 of 3 specs could not be run: scope@99: .*; coverage_only\+then") as said:
        table = scope.sweep(["scope@99", "scope@4", then], tokens=TOKENS)
    assert said[0].filename == __file__
    assert [bool(row["error"]) for row in table] == [True, False, False, True]
    assert "prunes at decoder[2], inside the language model" in table.rows[-1]["error"]
    assert table.rows[0]["kept"] is None
    assert len(str(table).splitlines()) == 4
    assert max(map(len, str(table).splitlines())) < 180


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"specs": "scopee@4", "tokens": TOKENS}, "did you mean 'scope'"),
        ({"specs": "scope", "budgets": 4, "tokens": TOKENS}, r"budgets must be a list, e.g. \[16, 64\], not 4"),
        ({"specs": "scope@4", "options": {"order": "picks"}, "tokens": TOKENS}, "'order' must map to a list of values"),
        ({"specs": "scope@4", "options": {"combiner.alpa": [1]}, "tokens": TOKENS}, "did you mean 'alpha'"),
        ({"specs": [], "tokens": TOKENS}, "no spec was given"),
        ({"specs": "scope@4"}, "give one of tokens=.*; none was given"),
        ({"specs": "scope@4", "tokens": TOKENS, "tower": "dinov2-small"}, "tokens and tower were given"),
        ({"specs": "scope@4", "tower": object()}, r"tower=... needs images=\[...\]"),
        ({"specs": "scope@4", "tokens": TOKENS, "thetas": (2.0,)}, "theta is a cosine"),
    ],
)
def test_mistakes_are_refused_before_anything_runs(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(scope.ScopeError, match=message):
        scope.sweep(**arguments)


def test_a_model_encodes_once_for_all_methods_at_a_point() -> None:
    model, calls = llava(), []
    loaded = scope.adapters.LoadedModel(model, lambda images, text: calls.append(text) or inputs(), str, "tiny")
    table = scope.sweep(["top_k_attention", "coverage_only"], [2, 4], model=loaded, images=["any"], question="why")
    assert calls == ["why"]
    with scope.Pruner("top_k_attention@4").attach(model) as pruning:
        model.generate(**inputs(), max_new_tokens=1)
    row = next(row for row in table if row["spec"] == "top_k_attention@4")
    assert row["coverage 0.8"] == pytest.approx(pruning.receipt.coverage()[0]["0.8"])
    assert scope.attached(model) is None


def inputs() -> dict[str, Any]:
    return batch([2, "image", 3]).inputs


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    scope.sweep("scope", [2, 4], tokens=TOKENS, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]


def test_frames_and_plots_and_sums() -> None:
    pandas, matplotlib = pytest.importorskip("pandas"), pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    one = scope.sweep("scope", [2, 4], options={"combiner.alpha": [0.5, 2]}, tokens=TOKENS)
    both = one + scope.sweep("coverage_only", [2, 4], tokens=TOKENS)
    assert list(both.to_frame()["combiner.alpha"].isna()) == [False] * 8 + [True] * 4
    assert both.to_dict()[0] == both.rows[0]
    lines = both.plot("coverage 0.7").get_lines()
    assert [line.get_label() for line in lines] == ["scope+alpha=0.5", "scope+alpha=2", "coverage_only"]
    assert lines[0].get_xdata().tolist() == [2, 4]
    with pytest.raises(scope.TokensError, match=r"'coverage 0.5' is not a column of numbers; these are: "):
        both.plot("coverage 0.5")
    stage = scope.Pruner("scope@4").stages[0]
    receipts = [stage.receipt(stage.select(FEATURES, saliency=SALIENCY)) for _ in range(2)]
    joined = pandas.concat([receipt.to_frame() for receipt in receipts])
    assert list(joined["budget.keep"]) == [4] * 4
    assert list(joined["combiner.alpha"]) == [1.0] * 4
    assert receipts[0].to_dict()["options"]["combiner"] == {"name": "product", "alpha": 1.0}


def test_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    table = scope.sweep("coverage_only@2", tokens=TOKENS)
    with pytest.raises(scope.MissingDependencyError, match=r"pip install 'scope-core\[plot\]'; to_dict\(\) gives"):
        table.to_frame()
