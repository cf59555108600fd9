"""`scope.plot`: overlays side by side, in order, and of what covers what."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

import scope_core as scope

IMAGE = Image.effect_noise((96, 64), 80).convert("RGB")
MARGIN, SIDE, GAP = 36, 480, 28


def tokens() -> scope.VisualTokens:
    features = torch.nn.functional.one_hot(torch.tensor([0, 0, 0, 1, 1, 2]), 3).float()
    return scope.VisualTokens.of(features, grid=(2, 3))


@pytest.fixture
def one() -> scope.Selection:
    return scope.Pruner("coverage_only@2").prune(tokens())


def test_comparison_has_the_image_and_a_panel_for_each_selection(one: scope.Selection) -> None:
    other = scope.Pruner("coverage_only@3").prune(tokens())
    page = scope.plot.compare(IMAGE, {"two": one, "three": other}, heading="kept")
    single = scope.plot.compare(IMAGE, {"two": one}, original=False)
    assert page.width == 2 * MARGIN + 3 * 720 + 2 * GAP
    assert single.width == 2 * MARGIN + 720
    with pytest.raises(scope.TokensError, match=r"give \{name: selection\}, at least one, not \{\}"):
        scope.plot.compare(IMAGE, {})
    with pytest.raises(scope.TokensError, match=r"give a Selection, .* not 'scope@64'"):
        scope.plot.compare(IMAGE, {"scope@64": "scope@64"})
    both = scope.VisualTokens.of(torch.eye(6).repeat(2, 1, 1), grid=(2, 3))
    with pytest.raises(scope.TokensError, match="'two' is a selection of 1 images, 'more' of 2"):
        scope.plot.compare(IMAGE, {"two": one, "more": scope.Pruner("coverage_only@2").prune(both)})


def test_first_and_last_pick_have_the_ends_of_the_ramp(one: scope.Selection) -> None:
    page = scope.plot.order(IMAGE, one, numbers=False)
    corner = [(MARGIN + (pick % 3) * 240, MARGIN + pick // 3 * 240) for pick in one.picks[0].tolist()]
    assert [page.getpixel(at) for at in corner] == [(255, 244, 120), (108, 112, 255)]
    assert scope.plot.order(IMAGE, one).tobytes() != page.tobytes()  # numbers
    assert scope.plot.kept(IMAGE, one).tobytes() == one.show(IMAGE).tobytes()


def test_the_map_tells_which_kept_token_covers_a_patch(one: scope.Selection) -> None:
    """The first three tokens are alike, then two, then one that no kept token is like."""
    index, cosine = one.nearest()
    assert one.picks.tolist() == [[0, 3]]
    assert index.tolist() == [[0, 0, 0, 3, 3, 0]]
    assert cosine.tolist() == [[1, 1, 1, 1, 1, 0]]
    page = scope.plot.coverage_map(Image.new("RGB", (96, 64), "grey"), one)
    middle = [page.getpixel((MARGIN + c * 240 + 120, MARGIN + r * 240 + 120)) for r in range(2) for c in range(3)]
    assert middle[0] == middle[3] == (128, 128, 128)  # kept
    assert middle[1] == middle[2] == middle[4]
    assert sum(middle[5]) < sum(middle[4])  # low cosines are dark
    border = page.getpixel((MARGIN + 2 * 240, MARGIN + 240 + 120))  # between the patches of 3 and of 0
    assert border == (255, 255, 255)
    assert page.getpixel((MARGIN + 2 * 240, MARGIN + 120)) != border


def test_curves(one: scope.Selection) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    lines = scope.plot.coverage_curve({"two": one, "budgets": [one, one]}, theta=(0.5, 0.9)).get_lines()
    assert [line.get_label() for line in lines] == ["two at 0.5", "two at 0.9", "budgets at 0.5", "budgets at 0.9"]
    assert lines[0].get_xydata().tolist() == [[1, 0.5], [2, pytest.approx(5 / 6)]]
    assert lines[2].get_xydata().tolist() == [[2, pytest.approx(5 / 6)]] * 2
    with pytest.raises(scope.TokensError, match="theta is a cosine"):
        scope.plot.coverage_curve(one, theta=2.0)
    with pytest.raises(scope.TokensError, match="'a' is 'scope@64'; give a Selection, or a list"):
        scope.plot.coverage_curve({"a": "scope@64"})


def test_a_prefix_is_the_selection_of_a_smaller_budget() -> None:
    features = torch.randn(2, 30, 8, generator=torch.Generator().manual_seed(0))
    whole = scope.select(features, spec="coverage_only@12")
    from scope_core.plot.curves import prefix_coverage

    curve = prefix_coverage(whole, 0.4)
    for keep in (1, 5, 12):
        less = scope.select(features, spec=f"coverage_only@{keep}")
        assert curve[keep - 1] == pytest.approx(float(less.coverage(0.4).mean()))


def test_curves_without_matplotlib(one: scope.Selection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(scope.MissingDependencyError, match=r"pip install 'scope-core\[plot\]'"):
        scope.plot.coverage_curve(one)
