"""Videos in a running engine, against Hugging Face with the same spec attached; Qwen-VL and LLaVA-OneVision."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any
from unittest import mock

import checkpoints
import pytest
import qwen_checkpoints
import torch
from engines import HuggingFace, Prompt, engine
from samples import clip, picture

import scope_core as scope
from scope_adapters.serving.geometry import geometry_of
from scope_adapters.serving.servable import recipes

Ask = functools.partial(Prompt, written=qwen_checkpoints.prompt)
IMAGE = picture(1, (300, 200))
SHORT, SLOW, LONG = clip(2), clip(3, 5, (60, 130), fps=0.7), clip(4, 24, (60, 60), fps=3.0)
"""Three frames after merging; three, the last from one; twelve, so that time goes further than rows and columns."""
PROMPTS: tuple[dict[str, Any], ...] = (
    {"images": [], "videos": [SHORT]},
    {"images": [], "videos": [SLOW, SHORT]},
    {"images": [IMAGE], "videos": [SHORT]},
    {"images": [], "videos": [LONG]},
)
PER_FRAME = {"name": "tokens", "keep": 3, "per": "frame"}
BOTH: tuple[Any, ...] = (
    *("", "divprune@9", "tome@7", {"recipe": "scope", "saliency": "feature_norm", "at": "projected", "budget": 0.3}),
    {"recipe": "divprune", "partition": "frame", "budget": PER_FRAME},
    {"recipe": "scope", "budget": 10, "saliency": {"name": "received_attention", "layer": 1}},
)
VIDEOS_ONLY = ("vidcom2@25%", "evs@30%")
SAME_AS = {"": "uniform_grid@100%"}
OPTIONS: dict[str, Any] = {"limit_mm_per_prompt": {"image": 4, "video": 2}, "max_num_batched_tokens": 96}


@contextmanager
def numbered_as_trained(model: Any) -> Iterator[None]:
    """Hugging Face, but text after a video is numbered from the last position of the video on.

    So it was until transformers 5.3, so vLLM does it, and so the released models were trained. Later releases look at
    rows and columns only.
    """
    base, vision = model.model, model.config.vision_config

    def index(input_ids: Any, mm_token_type_ids: Any = None, **given: Any) -> Any:
        grids = {1: iter(given.get("image_grid_thw", ())), 2: iter(given.get("video_grid_thw", ()))}
        seconds = given.get("second_per_grid_ts")
        paces = iter([1.0] * 9 if seconds is None else seconds.double() * vision.tokens_per_second)
        parts, start = [], 0
        for kind, group in groupby(mm_token_type_ids[0].tolist()):
            if kind == 0:
                parts.append((start + torch.arange(len(list(group)))).expand(3, -1))
            else:
                frames, rows, cols = (int(side) for side in next(grids[kind]))
                axes = [torch.arange(side) for side in (frames, rows // 2, cols // 2)]
                axes[0] = (axes[0] * next(paces) if kind == 2 else axes[0]).long()
                parts.append(torch.stack([axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")]) + start)
            start = int(parts[-1].max()) + 1
        whole = torch.cat(parts, 1)[:, None]
        return whole, torch.tensor([[start - input_ids.shape[1]]])

    if model.config.model_type == "qwen3_vl":  # each frame has its own grid there
        yield
        return
    real = base.get_rope_index

    @functools.wraps(real)
    def asked(input_ids: Any, mm_token_type_ids: Any = None, **given: Any) -> Any:
        return index(input_ids, mm_token_type_ids, **{name: one for name, one in given.items() if one is not None})

    with mock.patch.object(base, "get_rope_index", asked):
        yield


@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_answers_are_those_of_hugging_face(tmp_path: Path, kind: str) -> None:
    """Budgets mixed in a batch, prompts read in parts shorter than a video; twice, the second time from caches."""
    folder = qwen_checkpoints.qwen(tmp_path, kind)
    with engine(folder, "uniform_grid@100%", **OPTIONS) as running:
        huggingface = HuggingFace.load(folder)
        geometry: Any = geometry_of(huggingface.model.config)
        asked = [Ask(**media, pruner=spec) for spec in BOTH for media in PROMPTS]
        asked += [Ask([], spec, videos=[video]) for spec in VIDEOS_ONLY for video in (SHORT, LONG)]
        outputs = running.ask(*asked)
        answers = [list(output.outputs[0].token_ids) for output in outputs]
        agreed = 0
        for prompt, output, answer in zip(asked, outputs, answers, strict=True):
            spec = SAME_AS.get(str(prompt.pruner), prompt.pruner)
            inputs = huggingface.inputs(prompt)
            sizes = [geometry.size(grid) for grid in inputs.get("image_grid_thw", torch.empty(0)).tolist()]
            sizes += [geometry.size(grid, "video") for grid in inputs["video_grid_thw"].tolist()]
            total = scope.Pruner(spec).plan(geometry.layout(sizes, prompts=[0] * len(sizes))).total
            held = [output.prompt_token_ids.count(qwen_checkpoints.IMAGE + number) for number in (0, 1)]
            assert sum(held) == total
            with numbered_as_trained(huggingface.model):
                expected, _ = huggingface.answer(prompt, spec)
            agreed += answer == expected
            assert answer == expected or not huggingface.firm(prompt, spec), (kind, spec, sizes)
        assert agreed >= len(asked) - 2
        assert len({tuple(answer) for answer in answers}) >= len(asked) // 2
        assert [list(output.outputs[0].token_ids) for output in running.ask(*asked)] == answers
        assert not running.kept  # nothing was encoded again

        names = recipes(scope.Pruner("uniform_grid@9"), geometry, "video")
        assert {"divprune", "scope@no_cls", "tome", "vidcom2", "evs", "uniform_frames"} <= set(names)
        compared = set()
        for number, name in enumerate(names):
            prompt, spec = Ask([], videos=[clip(20 + number, 8)]), {"recipe": name, "budget": 0.5}
            with numbered_as_trained(huggingface.model):
                if huggingface.firm(prompt, spec):
                    answer = running.answers(Ask([], spec, videos=prompt.videos))[0]
                    assert (answer, running.kept) == huggingface.answer(prompt, spec), name
                    compared.add(name)
        assert len(compared) >= len(names) - 8
        for value, message in ((60, "keeps 60 per image, but video 0 has"), ("fastv@9", "decoder")):
            with pytest.raises(ValueError, match=message):
                running.answers(Ask([], value, videos=[SHORT]))
        with pytest.raises(ValueError, match="visual_pruner: images are refused with vidcom2@25%"):
            running.answers(Ask([IMAGE], "vidcom2@25%", videos=[SHORT]))
        assert running.answers(asked[0]) == answers[:1]


@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "llava_onevision"])
def test_an_engine_that_keeps_everything_answers_as_vllm(tmp_path: Path, kind: str) -> None:
    """Also long videos, whose text Hugging Face numbers in another way."""
    made = checkpoints.llava_onevision(tmp_path) if kind == "llava_onevision" else qwen_checkpoints.qwen(tmp_path, kind)
    ask = functools.partial(Prompt, written=checkpoints.prompt) if kind == "llava_onevision" else Ask
    asked = [ask(**media) for media in PROMPTS[:4]]
    if kind == "llava_onevision":  # vLLM 0.32 fails at others, or answers unlike Hugging Face, as the next test shows
        asked = asked[:1]
    with engine(made, None, limit_mm_per_prompt={"image": 4, "video": 2}) as stock:
        wanted = [stock.answers(prompt)[0] for prompt in asked]
    with engine(made, "uniform_grid@100%", **OPTIONS) as running:
        assert running.answers(*asked) == wanted
    assert len({tuple(answer) for answer in wanted}) == len(wanted)


def test_llava_onevision_answers_as_hugging_face(tmp_path: Path) -> None:
    """Pooled frames and a newline behind them; Hugging Face takes videos of one number of frames only."""
    folder, ask = checkpoints.llava_onevision(tmp_path), functools.partial(Prompt, written=checkpoints.prompt)
    media = [
        {"images": [], "videos": [SHORT]},
        {"images": [], "videos": [clip(7), clip(8, 6, (90, 60))]},
        {"images": [IMAGE], "videos": [clip(9, 20)]},
    ]
    dropped = {"name": "llava_onevision", "newlines": "drop"}
    specs = ["", "divprune@9", "tome@7", "scope@no_cls@25%", {"recipe": "divprune", "budget": 9, "adapter": dropped}]
    specs += [{"recipe": "divprune", "partition": "frame", "budget": PER_FRAME}]
    with engine(folder, "uniform_grid@100%", **OPTIONS) as running:
        huggingface = HuggingFace.load(folder)
        asked = [ask(**one, pruner=spec) for spec in specs for one in media]
        asked += [ask([], spec, videos=[video]) for spec in VIDEOS_ONLY for video in (SHORT, clip(9, 20))]
        answers, agreed = running.answers(*asked), 0
        for prompt, answer in zip(asked, answers, strict=True):
            spec = SAME_AS.get(str(prompt.pruner), prompt.pruner)
            expected, _ = huggingface.answer(prompt, spec)
            agreed += answer == expected
            assert answer == expected or not huggingface.firm(prompt, spec), (spec, len(prompt.videos))
        assert agreed >= len(asked) - 3
        assert len({tuple(answer) for answer in answers}) >= len(asked) // 2
        assert running.answers(*asked) == answers
        assert not running.kept
        names = recipes(scope.Pruner("uniform_grid@9"), geometry_of(huggingface.model.config), "video")
        assert {"divprune", "scope@no_cls", "tome", "vidcom2"} <= set(names)
        compared = set()
        for number, name in enumerate(names):
            prompt, spec = ask([], videos=[clip(20 + number, 8)]), {"recipe": name, "budget": 0.5}
            if huggingface.firm(prompt, spec):
                answer = running.answers(ask([], spec, videos=prompt.videos))[0]
                assert (answer, running.kept) == huggingface.answer(prompt, spec), name
                compared.add(name)
        assert len(compared) >= len(names) - 10


def test_models_without_videos_refuse_them_by_name(llava: Path) -> None:
    with engine(llava, "divprune@9") as running:
        with pytest.raises(
            ValueError, match="visual_pruner: videos are not served for llava with pruning; give images"
        ):
            running.ask(Prompt([], written=checkpoints.prompt, videos=[SHORT]))
        assert running.answers(Prompt([IMAGE]))
