"""What the page's controls ask for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cli import fake_zoo

import scope_core as scope
from scope_demo.demo import QUESTION, SPEC, Asked, Demo, free_name

PHOTO = "demo:coffee"
ASKED = Asked(PHOTO, ("scope", "top_k_attention", "random"), 32, question="What is this?")


def test_moving_the_slider_runs_the_selection_alone(demo: Demo) -> None:
    fake_zoo.LOG.clear()
    first = [demo.figures(replace(ASKED, budget=budget))["figures"] for budget in (144, 64, 16)]
    assert [[one["count"] for one in figures] for figures in first] == [[144] * 3, [64] * 3, [16] * 3]
    assert len(fake_zoo.LOG) == 1  # one pass of the tower, with the signals of all methods


def test_a_figure_says_what_covers_each_patch_and_with_what_cosine(demo: Demo) -> None:
    figure = demo.figures(ASKED)["figures"][0]
    photo = demo.shipped[PHOTO]
    tokens = demo.subject.tower.encode([photo.image], at="vision", needs=frozenset())  # type: ignore[attr-defined]
    features = torch.nn.functional.normalize(tokens.features[0].double(), dim=1)
    kept = set(figure["picks"])
    for token, (owner, cosine) in enumerate(zip(figure["nearest"], figure["cosine"], strict=True)):
        among = {one: float(features[token] @ features[one]) for one in kept}
        assert owner in kept
        assert owner == token if token in kept else among[owner] == pytest.approx(max(among.values()), abs=1e-5)
        assert cosine == pytest.approx(among[owner], abs=1e-3)
    share = sum(one >= 0.8 for one in figure["cosine"]) / 144
    assert figure["coverage"] == pytest.approx(share, abs=0.02)


def test_the_boxes_are_those_of_the_patches(demo: Demo) -> None:
    figure = demo.figures(ASKED)["figures"][0]
    side = figure["width"] // 12
    assert figure["height"] == figure["width"] == 12 * side
    for token, box in enumerate(figure["boxes"]):
        row, column = divmod(token, 12)
        assert box == [column * side, row * side, side, side, 0, row, column]


def test_a_method_that_fails_is_told_and_the_others_are_shown(demo: Demo) -> None:
    wrong = replace(ASKED, methods=("scope", "mine"), specs={"mine": "recipe: scop"})
    good, bad = demo.figures(wrong)["figures"]
    assert good["count"] == 32
    assert "did you mean 'scope'?" in bad["error"]
    both = [one.get("error", "") for one in demo.figures(replace(ASKED, budget=10**6))["figures"]]
    assert all("144 tokens" in text for text in both)


def test_an_unexpected_error_tells_no_more_than_its_kind(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo.subject, "select", lambda *given: 1 / 0)
    (figure, *_) = demo.figures(ASKED)["figures"]
    assert "ZeroDivisionError" in figure["error"]
    assert "Traceback" not in figure["error"]


def test_visitors_at_once_get_what_each_would_get_alone(demo: Demo, registry: scope.Registry) -> None:
    wanted = [
        replace(
            ASKED,
            photo=photo,
            budget=budget,
            specs={"scope": f"recipe: scope\nbudget: 9\ncombiner: {{alpha: {alpha}}}"},
        )
        for photo in (PHOTO, "demo:astronaut", "demo:chelsea")
        for budget, alpha in ((16, 0.5), (40, 2))
    ]

    def picks(one: Asked) -> list[list[int]]:
        return [figure["picks"] for figure in demo.figures(one)["figures"]]

    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(picks, wanted * 2))
    alone = Demo(demo.subject.__class__("alone", fake_zoo.FakeTower(), registry), registry)  # type: ignore[call-arg]
    assert together == [[figure["picks"] for figure in alone.figures(one)["figures"]] for one in wanted] * 2


def test_the_curve_has_each_method_at_each_budget(demo: Demo) -> None:
    address, (head, *rows), notes = demo.curve(ASKED)
    assert address.startswith("data:image/svg+xml;base64,")
    assert head == ["method", 16, 32, 48, 64, 96, 128, 144]
    assert [row[0] for row in rows] == ["scope", "top_k_attention", "random"]
    assert all(row[1] <= row[-1] == 1 for row in rows)
    assert notes == []


def test_answers_are_those_of_the_model_itself(asking: Demo, registry: scope.Registry) -> None:
    asked = replace(ASKED, methods=("scope", "fastv"), budget=4)
    *_, rows = asking.answers(asked)
    loaded, photo = asking.subject.loaded, asking.shipped[PHOTO]  # type: ignore[attr-defined]
    inputs = loaded.inputs([photo.image], asked.question)
    for row, name in zip(rows, (None, "scope", "fastv"), strict=True):
        with torch.no_grad():
            if name is None:
                ids = loaded.model.generate(**inputs, max_new_tokens=48, do_sample=False)
            else:
                with scope.Pruner(name, registry=registry, budget=4).attach(loaded.model):
                    ids = loaded.model.generate(**inputs, max_new_tokens=48, do_sample=False)
        assert row["text"] == loaded.decode(ids[0, inputs["input_ids"].shape[1] :])
        assert row["visual"] == (16 if name is None else 4)
    assert [row["label"] for row in rows] == ["all tokens", "scope@4", "fastv@4"]
    assert rows[1]["same"] == (rows[1]["text"] == rows[0]["text"])
    assert rows[1]["prompt"] == rows[0]["prompt"] - 12


def test_methods_that_select_inside_the_model_are_shown_and_left_out_of_the_curve(asking: Demo) -> None:
    asked = replace(ASKED, methods=("fastv", "divprune"), budget=4)
    assert [one["count"] for one in asking.figures(asked)["figures"]] == [4, 4]
    _, (_, *rows), notes = asking.curve(asked)
    assert [row[0] for row in rows] == ["divprune"]
    assert "fastv is not drawn" in notes[0]


@pytest.mark.parametrize(
    ("text", "words"), [("", "type one"), (" \n", "type one"), ("a" * (QUESTION + 1), "the limit is")]
)
def test_a_question_that_is_none_is_refused(asking: Demo, text: str, words: str) -> None:
    with pytest.raises(scope.SpecError, match=words):
        list(asking.answers(replace(ASKED, question=text)))


def test_only_uploads_are_read(demo: Demo, upload, noise, tmp_path: Path, tmp_path_factory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    noise.save(outside)
    (tmp_path / "link.png").symlink_to(outside)
    inside = tmp_path / "mine.png"
    noise.save(inside)
    assert demo.photo(str(inside)).image.size == noise.size
    for key in (
        str(outside),
        str(tmp_path / "link.png"),
        str(tmp_path / ".." / "x"),
        "/etc/passwd",
        "a\0b",
        "x" * 9999,
        "",
    ):
        with pytest.raises(scope.ZooError, match="no longer on the server"):
            demo.photo(key)
    demo.folder = None
    with pytest.raises(scope.ZooError, match="no longer on the server"):
        demo.photo(str(tmp_path / "other.png"))


def test_an_uploaded_spec_is_text_of_some_size(demo: Demo, upload) -> None:
    assert demo.uploaded_spec(str(upload("my <b> way.yaml", b"\xef\xbb\xbfrecipe: scope\n")), ["my b way"]) == (
        "my b way 2",
        "recipe: scope\n",
    )
    with pytest.raises(scope.SpecError, match="larger than"):
        demo.uploaded_spec(str(upload("a.yaml", b"a" * (SPEC + 1))), [])
    with pytest.raises(scope.SpecError, match="UTF-8"):
        demo.uploaded_spec(str(upload("b.yaml", b"\xff\xfe\x00")), [])


@pytest.mark.parametrize("name", ["", "../../x", "<script>alert(1)</script>", "名前", "a" * 300, "${x}{{y}}"])
def test_names_are_short_and_plain(name: str) -> None:
    found = free_name(name, [free_name(name, [])])
    assert 0 < len(found) <= 40
    assert not set(found) & set("<>/\\${}\"'")
