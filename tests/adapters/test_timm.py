"""timm towers: features and signals against timm's own unfused attention, alone and inside other models."""

from __future__ import annotations

import copy
import functools
import math
import pickle
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import offers
import oracles
import pytest
import timm
import torch
from PIL import Image
from timm.layers import PatchEmbed
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import HybridEmbed
from torch import Tensor, nn

import scope_core as scope
from adapters.snapshot import differences, snapshot
from scope_adapters.compat import timm as compat
from scope_adapters.towers.timm import TimmTower, timm_probe
from scope_adapters.zoo.towers import from_timm

SMALL = {"depth": 4, "embed_dim": 64, "num_heads": 4, "img_size": 56, "num_classes": 0}
PLAIN = {**SMALL, "patch_size": 14}
TOWERS: dict[str, tuple[Callable[[], nn.Module], int, bool]] = {
    "clip": (partial(timm.create_model, "vit_large_patch14_clip_336.openai", act_layer="quick_gelu", **SMALL), 1, True),
    "siglip": (partial(timm.create_model, "vit_so400m_patch14_siglip_384", **SMALL), 0, False),
    "siglip gap": (partial(VisionTransformer, class_token=False, global_pool="avg", **PLAIN), 0, False),
    "dinov2": (partial(timm.create_model, "vit_base_patch14_reg4_dinov2", **SMALL), 5, True),
    "qk norm": (partial(VisionTransformer, qk_norm=True, **PLAIN), 1, True),
    "registers": (partial(VisionTransformer, class_token=False, reg_tokens=2, global_pool="avg", **PLAIN), 2, False),
    "distilled": (partial(timm.create_model, "deit_tiny_distilled_patch16_224", **SMALL), 2, True),
}
"""How each kind is made, tokens before its patches, and whether the first of them is CLS."""
ATTENTION = ("vision.cls_attention", "vision.received_attention")


@functools.cache
def tower(name: str) -> nn.Module:
    """Weights drawn large enough for attention that is not flat."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vit = TOWERS[name][0]().eval()
        for path, weight in vit.named_parameters():
            if weight.dim() > 1:
                weight.data.normal_(0, 1.5 * weight[0].numel() ** -0.5)
            else:
                weight.data.normal_(float("norm" in path and "weight" in path), 0.2)
    return vit


def pixels(count: int = 2, side: int = 56) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def unfused(vit: nn.Module, given: Tensor) -> list[Tensor]:
    """(B, H, M, M) attention of every block, by timm's own slow path."""
    twin, maps = copy.deepcopy(vit), []
    for block in twin.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda _, args, out: maps.append(out))
    with torch.no_grad():
        twin.forward_features(given)
    return maps


def watched(vit: nn.Module, given: Tensor, layer: int = -2, **options: Any) -> scope.VisualTokens:
    with torch.no_grad(), timm_probe(vit, layer, **options) as seen:
        vit.forward_features(given)
    return seen.tokens


@pytest.mark.parametrize("layer", [-1, -2, -4, 1, 3])
@pytest.mark.parametrize("name", TOWERS)
def test_signals_are_those_of_unfused_attention(name: str, layer: int) -> None:
    vit, prefix, cls = tower(name), *TOWERS[name][1:]
    tokens = watched(vit, pixels(), layer)
    maps = unfused(vit, pixels())[layer if layer < 0 else layer - 1]
    assert maps.std() > 1e-2  # flat attention would prove nothing
    received = tokens.signal(f"vision.received_attention[{layer}]")
    torch.testing.assert_close(received, maps.mean(2)[..., prefix:], atol=1e-6, rtol=1e-5)
    assert (f"vision.cls_attention[{layer}]" in tokens.signals) is cls
    if cls:
        got = tokens.signal(f"vision.cls_attention[{layer}]")
        torch.testing.assert_close(got, maps[:, :, 0, prefix:], atol=1e-6, rtol=1e-5)
        assert got.shape == (2, 4, len(received[0, 0]))
        assert (got.sum(-1) < 1).all()  # every prefix column is gone, and softmax ran over them


@pytest.mark.parametrize("name", TOWERS)
def test_features_are_those_of_get_intermediate_layers(name: str) -> None:
    vit = tower(name)
    tokens = watched(vit, pixels())
    with torch.no_grad():
        wanted = vit.get_intermediate_layers(pixels(), n={2})[0]
    assert torch.equal(tokens.features, wanted)
    assert torch.equal(tokens.signal("vision.hidden[-2]"), wanted)
    side = tokens.row.max() + 1
    assert side * side == tokens.shape[1]
    assert tokens.col[0, :5].tolist() == [i % side for i in range(5)]


def test_keys_are_those_after_their_norm() -> None:
    vit = tower("qk norm")
    with torch.no_grad():
        inputs = vit.blocks[2].norm1(vit.get_intermediate_layers(pixels(), n={1})[0])
        patches = vit.blocks[2].attn.qkv(inputs).view(2, 16, 3, 4, 16)[:, :, 1].transpose(1, 2)
        wanted = vit.blocks[2].attn.k_norm(patches)
    torch.testing.assert_close(watched(vit, pixels()).signal("vision.keys[-2]"), wanted, atol=1e-5, rtol=1e-5)


def test_other_picture_sizes_have_their_own_grid() -> None:
    vit = VisionTransformer(dynamic_img_size=True, dynamic_img_pad=True, reg_tokens=4, **PLAIN).eval()
    given = torch.randn(1, 3, 40, 84)  # padded to 42 x 84
    tokens = watched(vit, given)
    assert (int(tokens.row.max()) + 1, int(tokens.col.max()) + 1) == (3, 6)


@pytest.mark.parametrize("name", ["clip", "siglip", "dinov2"])
def test_a_tower_picks_what_the_oracle_picks(name: str) -> None:
    """The zoo's way: pictures in, tokens out, SCOPE by the slow float64 rules."""
    built, cls = tower(name), TOWERS[name][2]
    loaded = TimmTower(built, name=name)
    photos = [Image.effect_mandelbrot((90, 70), (-2, -1.5, 1, 1.5), 30 + i).convert("RGB") for i in range(2)]
    saliency = "cls_attention" if cls else "received_attention"
    pruner = scope.Pruner({"recipe": "scope", "budget": 6, "saliency": saliency})
    tokens = loaded.encode(photos, at="vision", needs=pruner.needs)
    selection = pruner.prune(tokens)
    maps = unfused(built, loaded.pixels(photos))[-2]
    prefix = TOWERS[name][1]
    scores = (maps[:, :, 0] if cls else maps.mean(2)).sum(1)[:, prefix:]
    for image in range(2):
        cosine = oracles.cosine_matrix(tokens.features[image].numpy())
        picks, _, _ = oracles.scope_picks(cosine, scores[image].numpy(), 6)
        assert selection.picks[image].tolist() == list(picks)
    assert loaded.declaration.has_cls is cls
    assert loaded.view(photos[0]).size == (56, 56)


def test_preprocessing_is_that_of_timm() -> None:
    loaded = TimmTower(tower("clip"), name="clip")
    photo = Image.effect_mandelbrot((56, 56), (-2, -1.5, 1, 1.5), 40).convert("RGB")
    config = timm.data.resolve_model_data_config(loaded.module)
    config = {**config, "input_size": (3, 56, 56), "crop_pct": 1.0}
    wanted = timm.data.create_transform(**config, is_training=False)(photo)
    torch.testing.assert_close(loaded.pixels([photo])[0], wanted, atol=1e-6, rtol=1e-6)
    assert (loaded.size, loaded.mean) == (56, tuple(config["mean"]))


def test_blocks_above_the_last_one_read_are_not_computed() -> None:
    vit, ran = copy.deepcopy(tower("clip")), []
    for number, block in enumerate(vit.blocks):
        block.mlp.register_forward_hook(lambda *_, number=number: ran.append(number))
    loaded = TimmTower(vit, name="clip")
    photo = [Image.new("RGB", (56, 56), (9, 99, 200))]
    whole = watched(vit, loaded.pixels(photo))
    ran.clear()
    stopped = loaded.encode(photo, at="vision", needs=frozenset({"vision.cls_attention[-2]"}))
    assert ran == [0, 1, 2]
    assert torch.equal(stopped.features, whole.features)
    assert torch.equal(stopped.signal("vision.cls_attention[-2]"), whole.signal("vision.cls_attention[-2]"))
    ran.clear()
    loaded.encode(photo, at="vision", needs=frozenset({"vision.keys[-1]"}))
    assert ran == [0, 1, 2, 3]
    ran.clear()
    skipped = watched(vit, loaded.pixels(photo), skip_rest=True)
    assert ran == [0, 1, 2]
    assert torch.equal(skipped.features, whole.features)
    with torch.no_grad():
        vit.forward_features(loaded.pixels(photo))
    assert ran == [0, 1, 2, 0, 1, 2, 3]


class Fused(nn.Module):
    """What Prismatic and OpenVLA do: two featurizers whose forward gives one layer, joined channel by channel."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.featurizers = nn.ModuleList(copy.deepcopy(tower(name)) for name in names)
        for vit in self.featurizers:
            vit.forward = partial(vit.get_intermediate_layers, n={len(vit.blocks) - 2})
        self.projector = nn.Linear(64 * len(names), 24)

    def forward(self, given: Tensor) -> Tensor:
        return self.projector(torch.cat([vit(given)[0] for vit in self.featurizers], 2))


def test_inside_a_model_whose_featurizers_were_replaced() -> None:
    model = Fused("dinov2", "siglip").eval()
    before = snapshot(model)
    with torch.no_grad(), timm_probe(model.featurizers[0]) as dino, timm_probe(model.featurizers[1]) as siglip:
        assert differences(before, snapshot(model))
        read = model(pixels())
    assert differences(before, snapshot(model)) == []
    for seen, name in ((dino, "dinov2"), (siglip, "siglip")):
        assert torch.equal(seen.tokens.features, watched(tower(name), pixels()).features)
    features = torch.cat([dino.tokens.features, siglip.tokens.features], 2)
    with torch.no_grad():
        assert torch.equal(model.projector(features), read)
    selection = scope.select(features, signals=dino.tokens.signals, grid=(4, 4), spec="scope@5")
    alone = scope.Pruner("scope@5").prune(dino.tokens)
    assert selection.counts == alone.counts == (5, 5)
    assert selection.gather(read).shape == (2, 5, 24)


def test_a_later_pass_leaves_earlier_tokens_alone() -> None:
    vit = tower("clip")
    with torch.no_grad(), timm_probe(vit) as seen:
        vit.forward_features(pixels())
        first = seen.tokens
        vit.forward_features(pixels().flip(0))
        second = seen.tokens
    name = "vision.cls_attention[-2]"
    assert torch.equal(first.signal(name), second.signal(name).flip(0))
    assert not torch.equal(first.signal(name), second.signal(name))


def test_everything_is_undone_after_an_exception() -> None:
    vit = copy.deepcopy(tower("siglip"))
    before = snapshot(vit)
    with suppress(ZeroDivisionError), timm_probe(vit, skip_rest=True):
        assert differences(before, snapshot(vit))
        raise ZeroDivisionError
    assert differences(before, snapshot(vit)) == []
    with pytest.raises(scope.SignalError), timm_probe(vit, 9):
        pass
    assert differences(before, snapshot(vit)) == []
    pickle.dumps(vit)


def known_or_skipped(name: str, *values: object) -> Any:
    """A case of a model that older releases of timm lack."""
    return pytest.param(name, *values, marks=offers.timm_model(name))


@pytest.mark.filterwarnings("ignore:torch.meshgrid")  # timm 0.9 builds EVA with it
@pytest.mark.parametrize(
    ("name", "options", "wanted"),
    [
        ("eva02_tiny_patch14_224", {}, "EvaAttention"),
        pytest.param(
            *("vit_small_patch16_rope_224", {}, "AttentionRope"), marks=offers.timm_model("vit_small_patch16_rope_224")
        ),
        ("vit_relpos_small_patch16_224", {}, "RelPosAttention"),
        ("vit_base_patch16_xp_224", {"depth": 2}, "ParallelScalingBlock has no '.attn'"),
        ("vit_small_patch16_18x2_224", {"depth": 2}, "ParallelThingsBlock has no '.attn'"),
        ("resnet18", {}, "ResNet is not a timm VisionTransformer: it has no 'blocks'"),
        pytest.param(
            *("naflexvit_base_patch16_gap", {"depth": 2}, "not a timm VisionTransformer"),
            marks=offers.timm_model("naflexvit_base_patch16_gap"),
        ),
    ],
)
def test_layouts_whose_signals_would_be_wrong_are_refused(name: str, options: dict[str, Any], wanted: str) -> None:
    with pytest.raises(scope.AdapterError, match=wanted) as caught:
        from_timm(name, pretrained=False, **options)
    assert str(caught.value).startswith(name)
    assert "scope_core.select(features" in str(caught.value)


def test_signals_that_a_tower_lacks_are_refused_before_it_runs() -> None:
    needs = scope.Pruner("scope@5").needs
    why = r"vision\.cls_attention\[-2\].*VisionTransformer tower has no CLS token"
    with pytest.raises(scope.SignalError, match=why), timm_probe(tower("siglip"), needs=needs):
        pass
    with pytest.raises(scope.SignalError, match="4 layers"), timm_probe(tower("clip"), -5):
        pass
    with timm_probe(tower("clip")) as seen:
        pass
    with pytest.raises(scope.AttachError, match="did not run"):
        _ = seen.tokens
    tokens = watched(tower("siglip"), pixels())
    with pytest.raises(scope.SignalError, match="cls_attention"):
        scope.select(tokens.features, signals=tokens.signals, spec="scope@5")


def test_a_tower_of_an_older_timm_is_called_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not "not a timm VisionTransformer", which would be false."""
    vit = copy.deepcopy(tower("clip"))
    monkeypatch.setattr(compat, "NEEDED", ("blocks", "forward_features", "not_made_yet"))
    with pytest.raises(scope.AdapterError, match=r"VisionTransformer of timm has no 'not_made_yet'.*timm 0\.9\.10"):
        TimmTower(vit, name="clip")
    monkeypatch.undo()
    del vit.blocks[1].attn.k_norm
    with pytest.raises(scope.AdapterError, match=r"attention of block 1 has no 'k_norm'.*from timm 0\.9\.10"):
        TimmTower(vit, name="clip")


@pytest.mark.parametrize("size", [(56, 56), (64, 96), (70, 41)])
@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize("stem", [False, True], ids=["patches", "convolutions"])
def test_the_grid_is_that_of_the_patches_made(size: tuple[int, int], pad: bool, stem: bool) -> None:
    """With and without timm's own sum, which 0.9 lacks."""

    class Plain(nn.Module):
        """A patch embedding as timm 0.9 has it."""

        def __init__(self, embed: nn.Module) -> None:
            super().__init__()
            for name in ("grid_size", "img_size", "patch_size", "dynamic_img_pad", *(["backbone"] if stem else [])):
                setattr(self, name, getattr(embed, name))

    sizes = {"img_size": 64, "embed_dim": 8, "strict_img_size": False, "dynamic_img_pad": pad}
    if stem:
        embed: Any = HybridEmbed(nn.Conv2d(3, 4, 8, stride=8), patch_size=1, **sizes)
    else:
        embed = PatchEmbed(patch_size=16, **sizes)
    if pad or stem or not (size[0] % 16 or size[1] % 16):
        patches = embed(torch.zeros(1, 3, *size)).shape[1]
        assert math.prod(compat.grid_of(embed, *size)) == patches
    assert compat.grid_of(Plain(embed), *size) == compat.grid_of(embed, *size)
    assert compat.grid_of(embed, None, None) == ((8, 8) if stem else (4, 4))


def test_a_tower_that_drops_patches_is_refused() -> None:
    vit = VisionTransformer(patch_drop_rate=0.5, **PLAIN).train()
    with timm_probe(vit) as seen:
        vit.forward_features(pixels())
    with pytest.raises(scope.AttachError, match="drops patches"):
        _ = seen.tokens


def test_further_layers_can_be_read() -> None:
    tokens = watched(tower("clip"), pixels(), needs=frozenset({"vision.cls_attention[1]", "vision.keys[-3]"}))
    assert tokens.signal("vision.keys[-3]").shape == (2, 4, 16, 16)
    wanted = unfused(tower("clip"), pixels())[0][:, :, 0, 1:]
    torch.testing.assert_close(tokens.signal("vision.cls_attention[1]"), wanted, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "patches", "cls"),
    [
        ("vit_large_patch14_clip_336", 576, True),
        ("vit_so400m_patch14_siglip_384", 729, False),
        ("vit_base_patch14_reg4_dinov2", 1369, True),
    ],
)
def test_zoo_entries_load_without_weights(name: str, patches: int, cls: bool) -> None:
    entry = scope.default_registry().get("zoo", name).item
    loaded = entry.load(pretrained=False, depth=2, embed_dim=32, num_heads=2)
    rows, cols = loaded.tower.grid(loaded.size, loaded.size)
    assert (rows * cols, loaded.declaration.has_cls) == (patches, cls)
    assert entry.is_cached() in (True, False)


def test_names_that_timm_does_not_know() -> None:
    with pytest.raises(scope.ZooError, match=r"similar names: .*vit_base_patch14_reg4_dinov2"):
        from_timm("vit_base_patch14_reg4_dinov", pretrained=False)
