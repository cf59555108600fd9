"""InternVL in a running engine, against Hugging Face with the same spec attached: tiles, overviews, several images."""

from __future__ import annotations

import functools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import internvl_checkpoints
import pytest
import torch
from engines import HuggingFace, Prompt, engine
from internvl_checkpoints import SIDE, TOKENS
from samples import picture

import scope_core as scope
from scope_adapters.serving import fallback, receipts, tower
from scope_adapters.serving.geometry import geometry_of
from scope_adapters.serving.group import Group
from scope_adapters.serving.launch import configuration, pruning_overrides
from scope_adapters.serving.servable import recipes
from scope_adapters.serving.served import KEY, Served
from scope_adapters.serving.shuffled import MOST

Ask = functools.partial(Prompt, written=internvl_checkpoints.prompt)
IMAGES = (
    [picture(1, (100, 100))],  # one tile
    [picture(2, (330, 100))],
    [picture(3, (210, 300))],
    [picture(4, (60, 700)), picture(5, (230, 230))],
)
SPECS: tuple[Any, ...] = (
    *("", 16, 0.5, "scope@12", "scope@no_cls@12", "divprune@9", "top_k_attention@12", "random@12", "tome@12"),
    *("uniform_grid@9", "visionzip@no_cls@10", {"recipe": "scope", "budget": 12, "at": "projected"}),
    {"recipe": "scope@by_tile", "budget": {"name": "tokens", "keep": 3, "per": "tile"}},
)
SAME_AS = {"": "uniform_grid@100%", "16": "uniform_grid@16", "0.5": "uniform_grid@50%"}


@pytest.mark.parametrize("norms", [False, True], ids=["plain", "norms of query and key"])
def test_answers_are_those_of_hugging_face(tmp_path: Path, norms: bool) -> None:
    """Budgets mixed in a batch, prompts read in parts shorter than an image; twice, the second time from caches.

    The image processor itself does not cut images here: that of prompts does, and vLLM's own search for the largest
    image would find one of a single tile.
    """
    folder = internvl_checkpoints.internvl(tmp_path, norms=norms, crop=False)
    options: dict[str, Any] = {"max_num_batched_tokens": 96, "enable_mm_embeds": True}
    with engine(folder, "uniform_grid@100%", **options) as running:
        huggingface = HuggingFace.load(folder)
        geometry: Any = geometry_of(huggingface.model.config)
        asked = [Ask(images, spec) for spec in SPECS for images in IMAGES]
        outputs = running.ask(*asked)
        answers = [list(output.outputs[0].token_ids) for output in outputs]
        agreed = 0
        for prompt, output, answer in zip(asked, outputs, answers, strict=True):
            spec = SAME_AS.get(str(prompt.pruner), prompt.pruner)
            tiles = [cut(huggingface, image) for image in prompt.images]
            planned = scope.Pruner(spec).plan(geometry.layout([geometry.size(count) for count in tiles]))
            assert output.prompt_token_ids.count(internvl_checkpoints.IMAGE) == planned.total
            edges = [token for token in output.prompt_token_ids if token in (4, 5)]
            assert edges == [4, 5] * len(prompt.images)  # of an image, outside of its rows
            same = answer == huggingface.answer(prompt, spec)[0]
            agreed += same
            assert same or not huggingface.firm(prompt, spec), (spec, tiles)
        assert agreed >= len(asked) - 2
        assert len({tuple(answer) for answer in answers}) >= len(asked) - 8  # 16 of 16 tokens, e.g., are all of them
        assert {cut(huggingface, image) for images in IMAGES for image in images} == {1, 4, 5, 7}
        again = running.ask(*asked)
        assert [list(output.outputs[0].token_ids) for output in again] == answers
        assert sum(output.num_cached_tokens > 0 for output in again) >= len(asked) // 2  # those of a block and more
        assert not running.kept  # nothing was encoded again

        names = recipes(scope.Pruner("uniform_grid@9"), geometry)
        assert {"scope", "divprune", "random", "tome", "visionzip@no_cls", "vispruner", "fastervlm@no_cls"} <= set(
            names
        )
        compared = set()
        for number, name in enumerate(names):
            prompt, spec = Ask([picture(20 + number, (200, 330))]), {"recipe": name, "budget": 0.2}
            if huggingface.firm(prompt, spec):
                answer = running.answers(Ask(prompt.images, spec))[0]
                assert (answer, running.kept) == huggingface.answer(prompt, spec), name
                compared.add(name)
        assert len(compared) >= len(names) - 4
        for value in (300, "scope@200", "fastv@9", {"adapter": "llava"}, {"budgett": 9}, "9"):
            with pytest.raises(ValueError, match="visual_pruner"):
                running.answers(Ask(IMAGES[1], value))
        with pytest.raises(ValueError, match=rf"image of 1 tile of {SIDE} x {SIDE} pixels.*but image 0 has 16"):
            running.answers(Ask(IMAGES[0], 17))
        given = Ask(IMAGES[0]).for_vllm()
        with pytest.raises(ValueError, match="not 'max_patches'"):
            running.generate([{**given, "mm_processor_kwargs": {"max_patches": 1}}])
        video = {
            "prompt": "USER: <video>\n ASSISTANT:",
            "multi_modal_data": {"video": torch.zeros(2, 32, 32, 3).numpy()},
        }
        with pytest.raises(ValueError, match="videos are not served for internvl with pruning; give images"):
            running.generate([video])
        rows = huggingface.rows(IMAGES[0][0], range(TOKENS))
        own = running.generate([{**given, "multi_modal_data": {"image": rows[None]}}])
        assert list(own[0].outputs[0].token_ids) == answers[0]
        assert running.answers(Ask(IMAGES[1])) == answers[1:2]


def cut(huggingface: HuggingFace, image: Any) -> int:
    """The number of tiles that the processor of prompts makes."""
    return len(huggingface.processor(images=image, text="<IMG_CONTEXT>", return_tensors="pt")["pixel_values"])


def config(pruner: Any, **changes: Any) -> Any:
    """Of the size of InternVL3 1B: 24 layers, tiles of 448 pixels."""
    from transformers import InternVLConfig, InternVLVisionConfig, Qwen2Config

    made = InternVLConfig(
        vision_config=InternVLVisionConfig(hidden_size=64, num_attention_heads=4), text_config=Qwen2Config(), **changes
    )
    setattr(made, KEY, pruner)
    return made


def test_sizes_are_numbers_of_tiles() -> None:
    """The layout is that of the adapter for Hugging Face; the largest image is the processor's, where it is known."""
    from scope_adapters.adapters.internvl import InternVL, InternVLSpec

    made = config("scope@64")
    served = Served(made)
    geometry: Any = served.geometry(served.default)
    adapter, model = InternVL(InternVLSpec.model_validate({})), SimpleNamespace(config=made)
    found = set()
    for size in ((448, 448), (300, 700), (900, 900), (50, 2000), (1, 1), (3000, 2000)):
        count = adapter.tiles(model, size)
        layout = geometry.layout([geometry.size(count)])
        assert layout.images[0].tiles == (256,) * count
        assert geometry.tiles(geometry.size(count)) == count
        assert served.rows(served.default, geometry.size(count)) == 64
        found.add(count)
    assert found == {1, 5, 7, 11, 13}
    assert served.largest == (448, 13 * 448)
    assert served.facts("tiny")["budget"] == "64 of 3328 visual tokens for an image of 13 tiles of 448 x 448 pixels"
    setattr(made, MOST, 5)
    assert Served(made).largest == (448, 5 * 448)
    without = Served(config({"recipe": "scope", "budget": 64, "adapter": {"name": "internvl", "max_tiles": 1}}))
    assert without.geometry(without.default).canvases == [(448, 448)]


def test_signals_of_tokens_are_those_of_their_four_patches() -> None:
    """Attention summed, keys averaged, from the arguments of vLLM's attention; in float64, patch by patch."""
    served = Served(config("scope@64"))
    geometry: Any = served.geometry(served.default)
    layers = torch.nn.ModuleList([Layer() for _ in range(24)])
    model = SimpleNamespace(vision_tower=SimpleNamespace(encoder=SimpleNamespace(layer=layers)))
    found = tower.resolved(model, geometry.tower, geometry.paths)
    query, key = torch.randn(2, 2, 1025, 64, generator=torch.Generator().manual_seed(0))
    needs = frozenset({"vision.cls_attention[-2]", "vision.keys[-2]"})
    with tower.watch(found, needs, geometry.paths) as capture:
        layers[22].attention.attn(query, key, key)
    got = geometry.signals(tower.signals(capture, needs, geometry.read, geometry.paths))
    row, col = geometry.cells(torch.empty(1, 256, 1), [served.largest])
    for head, token in ((0, 0), (3, 17), (2, 255)):
        own = slice(16 * head, 16 * head + 16)
        attention = (query[:, :1, own].double() @ key[..., own].double().transpose(1, 2) * 0.5).softmax(-1)[:, 0]
        first = 1 + 2 * int(row[0, token]) * 32 + 2 * int(col[0, token])  # after the CLS token
        patches = [first, first + 1, first + 32, first + 33]
        summed = attention[:, patches].sum(1)
        torch.testing.assert_close(got["vision.cls_attention[-2]"][:, head, token].double(), summed, rtol=1e-4, atol=0)
        torch.testing.assert_close(got["vision.keys[-2]"][:, head, token], key[:, patches, own].mean(1))
    assert not layers[22].attention.attn._forward_pre_hooks
    with tower.watch(found, needs, geometry.paths) as capture:
        pass
    with pytest.raises(scope.AttachError, match="layer 22 did not pass through its"):
        tower.signals(capture, needs, geometry.read, geometry.paths)
    del layers[0].attention.attn
    with pytest.raises(scope.AdapterError, match="no 'attn'"):
        tower.resolved(model, geometry.tower, geometry.paths)


class Layer(torch.nn.Module):
    """As vLLM's: four heads of 16."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = torch.nn.Module()
        self.attention.attn = Attention()
        self.attention.num_heads, self.attention.head_dim, self.attention.scale = 4, 16, 0.5


class Attention(torch.nn.Module):
    """As vLLM's; its result is not read."""

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return value


def test_failures_keep_the_uniform_grid() -> None:
    served = Served(config("divprune@20"))
    served.rehearse()
    geometry: Any = served.geometry(served.default)
    group = Group(geometry, served.pruner(served.default), [geometry.size(3)])
    rows = torch.arange(768.0).view(3, 256, 1)
    broken = torch.full((3, 256, 8), torch.nan)
    kept, order, failures = fallback.select(group, [geometry.size(3)], broken, {}, receipts.Call(), rows)
    assert list(failures) == [0]
    grid = scope.Pruner("uniform_grid@20").prune(group.tokens(rows, {}), group.layout)
    assert kept[order][:, 0].tolist() == grid.kept[0].tolist()


@pytest.mark.parametrize(
    ("pruner", "changes", "message"),
    [
        ("scope@64", {"vision_feature_layer": -2}, r"vision_feature_layer is -2 .* vLLM reads the last layer \(-1\)"),
        ("scope@64", {"vision_feature_select_strategy": "full"}, "'full', but vLLM reads .* without its CLS"),
        ("visionzip@64", {}, "uses the CLS token.* visionzip@no_cls"),
        ("fastv@64", {}, r"cannot be pruned at 'decoder\[2\]'.* can serve: .*scope, "),
        ("mmtok@64", {}, "text.embeddings"),
        ("scope@4000", {}, "keeps 4000 per image, but image 0 has 3328"),
        ({"recipe": "scope", "budget": 9, "adapter": "llava"}, {}, "use adapter 'internvl'"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(pruner: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(scope.ScopeError, match=message):
        Served(config(pruner, **changes))


def test_tiles_of_another_size_are_refused() -> None:
    """Where prompts are sized: in the worker they would end the engine."""
    from scope_adapters.serving.internvl import ScopeInternVLProcessor
    from scope_adapters.serving.processing import MEDIA

    made = config("scope@64")
    processor = SimpleNamespace(info=SimpleNamespace(get_hf_config=lambda: made))
    check: Any = ScopeInternVLProcessor._check_pixels
    check(processor, MEDIA[0], {"pixel_values": torch.empty(3, 3, 448, 448)}, 0, (448, 1344))
    with pytest.raises(ValueError, match="became tiles of 224 x 448 pixels, but the model reads tiles of 448 x 448"):
        check(processor, MEDIA[0], {"pixel_values": torch.empty(3, 3, 448, 224)}, 0, (448, 1344))


def test_checkpoints_with_code_of_their_own_name_the_converted_ones(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "internvl_chat", "architectures": ["InternVLChatModel"]}')
    with pytest.raises(scope.AdapterError, match=r"cannot be served .*InternVLChatModel.* OpenGVLab/InternVL3-1B-hf"):
        configuration(str(tmp_path))
    with pytest.raises(scope.AdapterError, match=r"ends with -hf.*; supported: llava"):
        geometry_of(SimpleNamespace(model_type="internvl_chat"))
    made = config(None)
    made.save_pretrained(tmp_path)
    overrides = pruning_overrides(configuration(str(tmp_path)), str(tmp_path), "scope@25%")
    assert overrides["architectures"] == ["ScopeInternVLForConditionalGeneration"]
