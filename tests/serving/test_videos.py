"""Videos by their sizes alone: counts, positions, what is refused. No engine runs here."""

from __future__ import annotations

from typing import Any

import checkpoints
import internvl_checkpoints
import pytest
import qwen_checkpoints
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fallback import KINDS, raises
from test_rehearsal import with_score  # noqa: F401

import scope_core as scope
from scope_adapters.serving import fallback, receipts
from scope_adapters.serving.group import Group
from scope_adapters.serving.places import MOST, among, from_digits, to_digits
from scope_adapters.serving.served import KEY, Served
from scope_adapters.serving.sizes import Video

QWEN = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
PER_FRAME = {"name": "tokens", "keep": 3, "per": "frame"}
FAULTY = {"recipe": "scope", "saliency": "acme.fake", "combiner": "saliency_only", "budget": 7}


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The config of a tiny checkpoint of each kind."""
    from transformers import AutoConfig

    home = tmp_path_factory.mktemp("videos")
    made = {kind: qwen_checkpoints.qwen(home / kind, kind) for kind in QWEN}
    made["llava_onevision"] = checkpoints.llava_onevision(home / "onevision")
    made["internvl"] = internvl_checkpoints.internvl(home / "internvl")
    made["llava"] = checkpoints.llava(home / "llava")
    return {kind: AutoConfig.from_pretrained(folder) for kind, folder in made.items()}


def served(config: Any, pruner: Any) -> Served:
    setattr(config, KEY, pruner)
    return Served(config)


def a_video(server: Served, frames: int, rows: int = 4, cols: int = 3) -> Video:
    geometry: Any = server.geometry(server.default)
    if server.config.model_type == "llava_onevision":
        return geometry.video(frames)
    return Video(frames, rows * geometry.side, cols * geometry.side, 1.0 if geometry.timed else None)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_rows_and_text_stand_as_in_the_full_prompt(data: st.DataObject) -> None:
    """The oracle writes the full prompt token by token, numbers it, and then leaves out what is not kept."""
    rows, cols = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    before = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))  # text tokens before each frame
    full, number, text, kept = [], 0, 0, []
    for frame, many in enumerate(before):
        for _ in range(many):
            full.append((("text", text), (number,) * 3))
            number, text = number + 1, text + 1
        for row in range(rows):
            for col in range(cols):
                if data.draw(st.booleans()):
                    full.append(((frame, row, col), (number, number + row, number + col)))
                    kept.append((frame, row, col))
        number += max(rows, cols)
    full.append((("text", text), (number,) * 3))  # the end of the last frame
    ends = torch.tensor(before).cumsum(0)
    places = torch.tensor(kept, dtype=torch.int64).reshape(-1, 3)
    order, positions = among(places, ends, text + 1, max(rows, cols))
    named = [*kept, *(("text", token) for token in range(text + 1))]
    assert [named[index] for index in order.tolist()] == [name for name, _ in full]
    assert [tuple(row) for row in positions.tolist()] == [position for _, position in full]


@given(places=st.lists(st.tuples(*[st.integers(0, MOST)] * 3), min_size=1, max_size=20))
def test_places_travel_exactly(places: list[tuple[int, int, int]]) -> None:
    """In each dtype that a model may have."""
    whole = torch.tensor(places)
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        assert torch.equal(from_digits(to_digits(whole).to(dtype)), whole)


@pytest.mark.parametrize("kind", [*QWEN, "llava_onevision"])
def test_counts_follow_from_the_grid(configs: dict[str, Any], kind: str) -> None:
    for pruner, wanted in (
        ("divprune@7", lambda tokens, frames: 7),
        ("divprune@25%", lambda tokens, frames: int(tokens / 4 + 0.5)),
        ({"recipe": "divprune", "budget": PER_FRAME}, lambda tokens, frames: 3 * frames),
        ({"recipe": "divprune", "partition": "frame", "budget": PER_FRAME}, lambda tokens, frames: 3 * frames),
        ("vidcom2@25%", lambda tokens, frames: int(tokens / 4 + 0.5)),
    ):
        server = served(configs[kind], pruner)
        server.rehearse()
        for frames in (1, 2, 5):
            size = a_video(server, frames)
            (image,) = server.geometry(server.default).layout([size]).images
            newline = kind == "llava_onevision"
            assert (len(image.frames), image.separators) == (frames, newline)
            assert server.check_rows(server.default, size) == wanted(image.tokens, frames) + newline, (pruner, frames)


def test_media_that_a_spec_cannot_do_are_refused_by_name(configs: dict[str, Any]) -> None:
    """Recipes that take the images of a prompt for frames of one video serve videos only."""
    server = served(configs["qwen2_vl"], "vidcom2@25%")
    assert server.media == ["video"]
    assert server.facts("tiny")["budget"].startswith("images are refused with vidcom2@25%: vLLM encodes an image apart")
    assert server.facts("tiny")["videos"] == "256 of 1024 visual tokens for a video of 16 frames of 224 x 224 pixels"
    with pytest.raises(ValueError, match="visual_pruner: images are refused with vidcom2@25%"):
        server.check_rows(server.default, (112, 84))
    both = served(configs["qwen2_vl"], "divprune@25%")
    assert both.media == ["image", "video"]
    assert both.check_rows(both.asked("vidcom2@10%"), a_video(both, 4)) == 5
    with pytest.raises(ValueError, match="visual_pruner: images are refused with vidcom2@10%"):
        both.check_rows(both.asked("vidcom2@10%"), (112, 84))
    picks = served(configs["qwen3_vl"], {"recipe": "divprune", "order": "picks", "budget": 4})
    assert picks.media == ["image"]
    assert "videos are refused with divprune+order=picks@4: order 'picks'" in picks.facts("tiny")["videos"]
    assert served(configs["qwen2_5_vl"], {"recipe": "divprune", "order": "picks", "budget": 4}).media[1] == "video"
    for kind in ("llava", "internvl"):
        server = served(configs[kind], "divprune@4")
        assert server.media == ["image"]
        reason = f"videos are not served for {kind} with pruning; give images"
        assert server.refusal("video") == server.facts("tiny")["videos"] == reason
        assert server.refusal("audio") == reason.replace("videos", "audios")
    with pytest.raises(scope.SpecError, match="images must not share a budget"):
        served(configs["llava"], "vidcom2@25%")
    with pytest.raises(scope.SpecError, match=r"Recipes that vLLM can serve: .*divprune.*; for videos only: .*vidcom2"):
        served(configs["qwen2_vl"], "fastv@9")


def test_requests_get_no_more_of_a_video_than_the_engines_spec(configs: dict[str, Any]) -> None:
    server = served(configs["qwen2_5_vl"], "divprune@7")
    size = a_video(server, 3)
    assert server.check_rows(server.asked(5), size) == 5
    with pytest.raises(ValueError, match=r"video of 3 frames of 84 x 112 pixels would keep 8 tokens, .* started for 7"):
        server.check_rows(server.asked(8), size)
    with pytest.raises(ValueError, match=r"video of 1 frame of 28 x 56 pixels: .* keeps 7 per image, but video 0"):
        server.check_rows(server.default, a_video(server, 1, 2, 1))


def test_seconds_between_frames_are_those_of_the_model(configs: dict[str, Any]) -> None:
    """Whole positions, of seconds times a pace, as vLLM makes them; and the seconds that parts read."""
    configs["qwen2_5_vl"].vision_config.tokens_per_second = 4
    geometry: Any = served(configs["qwen2_5_vl"], "divprune@7").geometry(json_of("divprune@7"))
    size = Video(5, 56, 56, 0.4)
    assert geometry.times(size).tolist() == [0, 1, 3, 4, 6]
    assert geometry.reach(size) == 7
    assert geometry.layout([size]).images[0].times == pytest.approx((0.0, 0.4, 0.8, 1.2, 1.6))
    plain: Any = served(configs["qwen2_vl"], "divprune@7").geometry(json_of("divprune@7"))
    assert plain.times(Video(3, 56, 56)).tolist() == [0, 1, 2]
    assert plain.reach(Video(3, 56, 280)) == 10
    assert plain.reach((56, 280)) == 10


def json_of(pruner: Any) -> str:
    from scope_adapters.serving.served import written

    return written(scope.Pruner(pruner))


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "llava_onevision"])
@pytest.mark.parametrize("score", KINDS, ids=lambda score: score.__name__)
def test_a_video_that_a_part_fails_on_keeps_the_uniform_grid(
    configs: dict[str, Any],
    with_score: Any,  # noqa: F811
    kind: str,
    score: Any,
) -> None:
    """Others, also of the same batch, keep their own tokens."""
    with_score(score)
    server = served(configs[kind], FAULTY)
    server.rehearse()
    geometry: Any = server.geometry(server.default)
    size = a_video(server, 3)
    group = Group(geometry, server.pruner(server.default), [size] * 2)
    each = group.packings[0].patches // 3
    features = torch.randn(6, each, 128, generator=torch.Generator().manual_seed(0))

    def select(call: receipts.Call) -> tuple[Any, Any]:
        """The rows of both videos, a newline as infinities; and the failures."""
        rows, order, failures = fallback.select(group, [size] * 2, features, {}, call)
        whole = torch.cat([rows, torch.full((1, rows.shape[1]), torch.inf)])[order]
        return torch.split(whole, group.promised), failures

    clean, none = select(receipts.Call())
    assert none == {}
    features[4] = 7.0  # a frame of the second
    call = receipts.Call()
    rows, failures = select(call)
    assert list(failures) == [1]
    assert failures[1].reason == KINDS[score]
    assert torch.equal(rows[0], clean[0])
    tokens = group.layout.images[0].tokens
    chosen = scope.Pruner("uniform_grid@7").prune(group.tokens(features, {}), group.layout).kept[1]
    assert torch.equal(rows[1][:7, :128], group.tokens(features, {}).features[1][chosen])
    assert (call.images, call.tokens, call.kept) == (2, 2 * tokens, 14)


def test_a_part_that_fails_on_videos_only_is_refused_at_the_start(configs: dict[str, Any], with_score: Any) -> None:  # noqa: F811
    def score(tokens: scope.VisualTokens) -> torch.Tensor:
        if bool((tokens.frame > 0).any()):
            raise KeyError("moving pictures")
        return tokens.features[..., 0]

    with_score(score)
    server = served(configs["qwen2_vl"], FAULTY)
    with pytest.raises(scope.SpecError, match=r"fails on features of both signs \(video of 3 frames .*moving pictures"):
        server.rehearse()
    assert raises is not score
