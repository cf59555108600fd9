"""``scope select``: numbers, notes and pictures."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageStat

import scope_core as scope
from cli.conftest import Ran

TOWER = ("--tower", "fake-tower")
GRID = 12


def log() -> list[tuple[str, frozenset[str]]]:
    return sys.modules["scope_plugin_file_fake_zoo"].LOG


def by_label(facts: dict[str, Any], image: int = 0) -> dict[str, Any]:
    return {one["label"]: one for one in facts["images"][image]["selections"]}


def test_json_says_what_was_kept(fake: Callable[..., Ran]) -> None:
    ran = fake("select", "demo:coffee", *TOWER, "--spec", "scope@16", "--compare", "top_k_attention,random", "--json")
    assert ran.code == 0
    facts = ran.json
    assert (facts["tower"], facts["saliency"], facts["out"]) == ("fake-tower", "cls_attention", None)
    assert (facts["images"][0]["width"], facts["images"][0]["height"]) == (600, 400)
    assert [one["label"] for one in facts["specs"]] == ["scope@16", "top_k_attention@16", "random@16"]
    assert facts["specs"][0]["spec"]["budget"]["keep"] == 16
    assert all(one["select_ms"] > 0 for one in facts["specs"])
    kept = by_label(facts)
    for one in kept.values():
        assert (one["tokens"], one["kept_count"]) == (GRID * GRID, 16)
        assert sorted(one["picks"]) == one["kept"]
        assert len(set(one["kept"])) == 16
        assert 1 >= one["theta_coverage"]["0.7"] >= one["theta_coverage"]["0.8"] >= one["theta_coverage"]["0.9"] > 0
    assert kept["scope@16"]["overlap"] == 1
    mine, other = set(kept["scope@16"]["kept"]), set(kept["random@16"]["kept"])
    assert kept["random@16"]["overlap"] == pytest.approx(len(mine & other) / len(mine | other))
    assert kept["top_k_attention@16"]["saliency_share"] == max(one["saliency_share"] for one in kept.values())


def test_the_numbers_are_those_of_the_library(fake: Callable[..., Ran]) -> None:
    facts = fake("select", "demo:chelsea", *TOWER, "--spec", "scope@12", "--json").json
    from scope_core.cli.photos import open_pictures

    tower = sys.modules["scope_plugin_file_fake_zoo"].tower("")
    pruner = scope.Pruner("scope@12")
    tokens = tower.encode([open_pictures(["demo:chelsea"])[0].image], at="vision", needs=pruner.needs)
    selection = pruner.prune(tokens)
    row = by_label(facts)["scope@12"]
    assert row["picks"] == selection.picks[0].tolist()
    assert row["theta_coverage"]["0.8"] == pytest.approx(float(selection.coverage(0.8)))
    attention = tokens.signal("vision.cls_attention[-2]").sum(1)
    assert row["saliency_share"] == pytest.approx(float(selection.share_of(attention)))


def test_all_recipes_share_one_encoding_with_all_signals(fake: Callable[..., Ran]) -> None:
    fake("select", "demo:coffee", *TOWER, "--spec", "random@4", "--compare", "scope", "--compare", "top_k_attention")
    assert log() == [("vision", frozenset({"vision.cls_attention[-2]"}))]


def test_budgets(fake: Callable[..., Ran], tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("recipe: scope\nbudget: 5\n")
    facts = fake("select", "demo:coffee", *TOWER, "--keep", 7, "--compare", f"random,random@3,{mine}", "--json").json
    counts = {label: one["kept_count"] for label, one in by_label(facts).items()}
    assert counts == {"scope@7": 7, "random@7": 7, "random@3": 3, "scope@5": 5}


def test_the_same_method_twice_runs_once(fake: Callable[..., Ran]) -> None:
    facts = fake("select", "demo:coffee", *TOWER, "--compare", "scope@9,random,scope", "--json").json
    assert [one["label"] for one in facts["specs"]] == ["scope@9", "random@9"]
    assert facts["notes"] == [
        "'scope@9' is the same as 'scope@9' and runs once",
        "'scope' is the same as 'scope@9' and runs once",
    ]


def test_spec_files_go_by_their_label_and_the_file_stands_below(fake: Callable[..., Ran], tmp_path: Path) -> None:
    """As `scope plan`, `validate` and `run` call them; equal ones are told apart by what differs."""
    files = [tmp_path / name for name in ("soft.yaml", "hard.yaml", "more/hard.yaml")]
    (tmp_path / "more").mkdir()
    for file, alpha in zip(files, (0.5, 2.0, 3.0), strict=True):
        file.write_text(f"recipe: scope\nbudget: 5\ncombiner: {{alpha: {alpha}}}\n")
    out = tmp_path / "kept.png"
    args = ("select", "demo:coffee", *TOWER, "--spec", files[0], "--compare", f"{files[1]},{files[2]}", "--out", out)
    labels = [one["label"] for one in fake(*args, "--json").json["specs"]]
    assert labels == ["scope+alpha=0.5@5", "scope+alpha=2@5", "scope+alpha=3@5"]
    assert fake("plan", files[0], "--tokens", "9", "--json").json["spec"] == labels[0]
    shown = fake(*args).stdout.replace("\n", "").replace(" ", "")
    for label, file in zip(labels, files, strict=True):
        assert f"{label}is{file}".replace(" ", "") in shown


def test_what_is_not_just_kept_is_said(fake: Callable[..., Ran], tmp_path: Path) -> None:
    """Notes as `scope compare` has them, in the table, the picture and the JSON."""
    adding = tmp_path / "adding.yaml"
    adding.write_text("recipe: scope\nbudget: 9\nmerger: residual\n")
    out = tmp_path / "kept.png"
    args = ("select", "demo:coffee", *TOWER, "--spec", "scope@9", "--compare", f"downsample,{adding}", "--out", out)
    facts = fake(*args, "--json").json
    merging = "merges dropped tokens into kept ones; coverage and saliency count the kept ones alone"
    sending = "adds 1 token to the kept ones"
    assert [one["notes"] for one in facts["specs"]] == [[], [merging], [merging, sending]]
    assert [(one["kept_count"], one["rows"]) for one in by_label(facts).values()] == [(9, 9), (9, 9), (8, 9)]
    words = fake(*args).words
    assert "scope@9 9/144" in words
    assert "downsample@9 * 9/144" in words
    assert f"* downsample@9, scope+merger=residual@9: {merging}" in words
    assert f"* scope+merger=residual@9: {sending}" in words
    with Image.open(out) as page:  # two notes, the file, and what dim patches are, a line each
        tall = page.height
    fake("select", "demo:coffee", *TOWER, "--spec", "scope@9", "--compare", "random", "--out", out)
    with Image.open(out) as page:
        assert tall == page.height + 4 * 26


def test_defaults_come_from_the_zoo(fake: Callable[..., Ran]) -> None:
    assert fake("select", "demo:coffee", *TOWER, "--json").json["specs"][0]["label"] == "scope@9"


def test_the_table(fake: Callable[..., Ran]) -> None:
    ran = fake("select", "demo:coffee", "demo:chelsea", *TOWER, "--compare", "random")
    assert ran.code == 0
    for wanted in ("method", "θ 0.8", "saliency", "overlap", "coffee", "chelsea", "9/144", "random@9"):
        assert wanted in ran.words
    assert "--out kept.png" in ran.stderr


def test_a_missing_point_is_noted_and_at_moves_the_method(fake: Callable[..., Ran], tmp_path: Path) -> None:
    args = ("select", "demo:coffee", *TOWER, "--compare", "divprune,random", "--out", tmp_path / "kept.png")
    ran = fake(*args, "--json")
    note = (
        "divprune@9 is left out: it takes tokens at 'projected', but fake-tower alone has tokens only at: vision; "
        "--at vision runs it there instead"
    )
    assert ran.json["notes"] == [note]
    assert [one["label"] for one in ran.json["specs"]] == ["scope@9", "random@9"]
    assert ran.stderr.count(note) == 1
    moved = fake(*args, "--at", "vision", "--json").json
    assert [one["at"] for one in moved["specs"]] == ["vision"] * 3
    assert [one["notes"] for one in moved["specs"]] == [
        [], ["tokens taken at 'vision', not at 'projected' as the method does"], [],
    ]  # fmt: skip
    assert moved["notes"] == []


def test_what_cannot_run_is_known_before_anything_is_loaded(fake: Callable[..., Ran]) -> None:
    """This tower cannot be loaded at all, and says its points."""
    broken = ("select", "demo:coffee", "--tower", "fake-broken")
    first = fake(*broken, "--spec", "divprune@9", "--compare", "random")
    assert first.code == 3
    assert "divprune@9: it takes tokens at 'projected'" in first.stderr
    assert "The first method must be able to run: put another one first." in first.stderr
    assert "No method is left" in fake(*broken, "--spec", "divprune@9").stderr
    assert "did you mean 'vision'?" in fake(*broken, "--at", "visoin").stderr
    assert fake(*broken, "--compare", "scpoe").code == 3
    later = fake(*broken, "--compare", "divprune")
    assert later.code == 4
    assert "divprune@9 is left out" in later.stderr


def test_a_missing_point_among_several(fake: Callable[..., Ran]) -> None:
    """This tower says its points only when it is loaded."""
    ran = fake("select", "demo:coffee", "--tower", "fake-two-points", "--compare", "divprune")
    assert ran.code == 0
    assert "fake-two-points alone has tokens only at: vision, acme.deep; --at vision" in ran.stderr
    assert fake("select", "demo:coffee", "--tower", "fake-two-points", "--spec", "divprune@9").code == 3


def test_a_saliency_that_says_nothing_has_no_share(fake: Callable[..., Ran]) -> None:
    ran = fake("select", "demo:coffee", *TOWER, "--spec", "coverage_only@9")
    assert "n/a" in ran.stdout
    facts = fake("select", "demo:coffee", *TOWER, "--spec", "coverage_only@9", "--json").json
    assert by_label(facts)["coverage_only@9"]["saliency_share"] is None


def test_a_tower_without_cls_names_what_would_work(fake: Callable[..., Ran]) -> None:
    ran = fake("select", "demo:coffee", "--tower", "fake-bare", "--spec", "scope@9")
    assert ran.code == 3
    assert "received_attention" in ran.stderr


def panel_of(page: Image.Image, number: int, size: int = 480) -> Image.Image:
    """Panel ``number`` of the first row; the margin is 36, the gap 28, the heading 52 high."""
    left = 36 + number * (size + 28)
    return page.crop((left, 88, left + size, 88 + size))


def test_the_picture_shows_kept_patches_and_dims_the_others(fake: Callable[..., Ran], tmp_path: Path) -> None:
    out = tmp_path / "kept.png"
    ran = fake("select", "demo:coffee", *TOWER, "--spec", "scope@20", "--compare", "random", "--out", out, "--json")
    assert ran.json["out"] == str(out)
    with Image.open(out) as page:
        assert page.mode == "RGB"
        assert page.width == 36 * 2 + 3 * 480 + 2 * 28
        original, *panels = (panel_of(page, number) for number in range(3))
    cell = 480 // GRID
    for label, panel in zip(("scope@20", "random@20"), panels, strict=True):
        kept = set(by_label(ran.json)[label]["kept"])
        for token in range(GRID * GRID):
            left, top = token % GRID * cell, token // GRID * cell
            inside = (left + 3, top + 3, left + cell - 3, top + cell - 3)
            mine, seen = panel.crop(inside), original.crop(inside)
            if token in kept:
                assert mine.tobytes() == seen.tobytes()
                assert panel.getpixel((left, top)) == (255, 210, 63)
            else:
                red, green, blue = mine.split()
                assert red.tobytes() == green.tobytes() == blue.tobytes()  # no colour is left
                grey = ImageStat.Stat(seen.convert("L")).mean[0]
                assert ImageStat.Stat(red).mean[0] == pytest.approx(0.38 * grey, abs=2)


def test_the_picture_has_captions_and_bars(fake: Callable[..., Ran], tmp_path: Path) -> None:
    out = tmp_path / "kept.png"
    ran = fake("select", "demo:coffee", *TOWER, "--spec", "scope@20", "--out", out, "--json")
    share = by_label(ran.json)["scope@20"]["theta_coverage"]["0.8"]
    with Image.open(out) as page:
        below = page.crop((36 + 508 + 150, 88 + 480, 36 + 508 + 480, page.height))
    blue = [[below.getpixel((x, y)) == (47, 111, 222) for x in range(below.width)] for y in range(below.height)]
    first = next(row for row in blue if any(row))
    assert sum(first) == pytest.approx(share * (480 - 150 - 56), abs=2)


def test_order_colours_first_and_last_picks_differently(fake: Callable[..., Ran], tmp_path: Path) -> None:
    out = tmp_path / "kept.png"
    ran = fake("select", "demo:coffee", *TOWER, "--spec", "random@5", "--out", out, "--order", "--json")
    picks = by_label(ran.json)["random@5"]["picks"]
    with Image.open(out) as page:
        panel = panel_of(page, 1)
    colours = [panel.getpixel((pick % GRID * 40, pick // GRID * 40)) for pick in picks]
    assert colours[0] == (255, 244, 120)
    assert colours[-1] == (108, 112, 255)
    assert len(set(colours)) == 5


def test_several_pictures_are_rows_and_many_recipes_are_wrapped(fake: Callable[..., Ran], tmp_path: Path) -> None:
    rows, many = tmp_path / "rows.jpg", tmp_path / "many.webp"
    fake("select", "demo:coffee", "demo:rocket", *TOWER, "--compare", "random", "--out", rows)
    fake(
        "select",
        "demo:coffee",
        *TOWER,
        "--compare",
        "random,uniform_grid,top_k_attention,random@3,coverage_only",
        "--out",
        many,
    )
    with Image.open(rows) as page:
        assert (page.format, page.width) == ("JPEG", 36 * 2 + 3 * 480 + 2 * 28)
        assert page.height > 2 * 480
    with Image.open(many) as page:
        assert (page.format, page.width) == ("WEBP", 36 * 2 + 4 * 480 + 3 * 28)
        assert page.height > 2 * 480


@pytest.mark.parametrize(
    ("path", "wanted"), [("kept.pdf", ".png, .jpg"), ("nowhere/kept.png", "folder"), ("folder.png", "is a folder")]
)
def test_where_no_picture_can_go_is_said_first(
    fake: Callable[..., Ran], tmp_path: Path, path: str, wanted: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    ran = fake("select", "demo:coffee", *TOWER, "--out", tmp_path / path)
    assert ran.code == 2
    assert wanted in ran.stderr
    assert "scope_plugin_file_fake_zoo" not in sys.modules  # nothing was loaded for it


def test_tokens_without_positions_cannot_be_drawn(fake: Callable[..., Ran], tmp_path: Path) -> None:
    args = ("select", "demo:coffee", "--tower", "fake-no-grid")
    assert fake(*args).code == 0
    ran = fake(*args, "--out", tmp_path / "kept.png")
    assert ran.code == 3
    assert "no grid positions" in ran.stderr


def test_a_part_from_a_file_works_in_a_spec(fake: Callable[..., Ran], tmp_path: Path) -> None:
    spec = tmp_path / "odd.yaml"
    spec.write_text("recipe: top_k_attention\nbudget: 72\nsaliency: acme.half\n")
    facts = fake("select", "demo:coffee", *TOWER, "--spec", spec, "--json").json
    assert by_label(facts)["top_k_attention+saliency=acme.half@72"]["kept"] == list(range(1, 144, 2))
    assert by_label(facts)["top_k_attention+saliency=acme.half@72"]["saliency_share"] == 1


@pytest.mark.tower
def test_the_real_tower(scope_: Callable[..., Ran], tmp_path: Path) -> None:
    entry = scope.default_registry().get("zoo", "dinov2-small").item
    if not entry.is_cached():
        pytest.skip("the dinov2-small tower is not in the cache: run `scope models fetch dinov2-small`")
    out = tmp_path / "kept.png"
    ran = scope_("select", "demo:astronaut", "--compare", "top_k_attention,random", "--out", out, "--json")
    assert ran.json["tower"] == "dinov2-small"
    kept = by_label(ran.json)
    assert kept["scope@64"]["theta_coverage"]["0.8"] > 2 * kept["top_k_attention@64"]["theta_coverage"]["0.8"]
    assert kept["scope@64"]["saliency_share"] > 2 * kept["random@64"]["saliency_share"]
    with Image.open(out) as page:
        assert page.width > 4 * 480
