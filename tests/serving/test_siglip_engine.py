"""A tower without CLS in a running engine: what reads no CLS is served, the rest is refused."""

from __future__ import annotations

from pathlib import Path

import checkpoints
import pytest
from engines import HuggingFace, Prompt, engine
from samples import picture

import scope_core as scope
from scope_adapters.serving.geometry import geometry_of
from scope_adapters.serving.servable import recipes
from scope_adapters.serving.served import KEY, Served


def siglip(folder: Path, kind: str) -> Path:
    """A model whose tower is SigLIP's: every patch is read, and nothing else is there."""
    import transformers

    sizes, tokenizer = checkpoints.Sizes(side=336 if kind == "Llava" else 84), checkpoints.words()
    side = sizes.side
    vision = transformers.SiglipVisionConfig(
        hidden_size=sizes.vision, intermediate_size=2 * sizes.vision, num_hidden_layers=sizes.vision_layers,
        num_attention_heads=sizes.heads, image_size=side, patch_size=14,
    )  # fmt: skip
    shared = checkpoints.towers(sizes, len(tokenizer))
    shared |= {"vision_config": vision, "vision_feature_select_strategy": "full"}
    shared |= {"image_seq_length": (side // 14) ** 2, "image_token_id": checkpoints.SPECIAL.index("<image>")}
    pictures = checkpoints.pictures(sizes)
    if kind == "LlavaNext":
        grids = [[side, 2 * side], [2 * side, side], [2 * side, 2 * side]]
        shared["image_grid_pinpoints"] = grids
        pictures = transformers.LlavaNextImageProcessor(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}, image_grid_pinpoints=grids
        )
    processor = getattr(transformers, f"{kind}Processor")(
        pictures, tokenizer, patch_size=14, vision_feature_select_strategy="full", num_additional_image_tokens=0
    )
    config = getattr(transformers, f"{kind}Config")(**shared)
    return checkpoints.write(folder, getattr(transformers, f"{kind}ForConditionalGeneration"), config, processor)


@pytest.mark.parametrize("kind", ["Llava", "LlavaNext"])
def test_recipes_that_can_be_served_answer_as_on_hugging_face(tmp_path: Path, kind: str) -> None:
    folder = siglip(tmp_path, kind)
    huggingface = HuggingFace.load(folder)
    geometry = geometry_of(huggingface.model.config)
    compared = set()
    with engine(folder, "scope@no_cls@100%") as running:
        names = recipes(scope.Pruner("coverage_only@64"), geometry)  # selects with numba: only once the engine runs
        assert {"scope@no_cls", "divprune", "coverage_only", "tome"} <= set(names)
        assert "scope" not in names
        full = Prompt([picture(1)])
        assert running.answers(full) == [huggingface.answer(full)[0]]
        for number, name in enumerate(names):
            spec, prompt = {"recipe": name, "budget": 0.25}, Prompt([picture(10 + number), picture(40 + number)])
            if huggingface.firm(prompt, spec):
                answers = running.answers(Prompt(prompt.images, spec))
                assert (answers[0], running.kept) == huggingface.answer(prompt, spec), name
                compared.add(name)
    assert len(compared) >= len(names) - 4


def test_what_reads_cls_is_refused(tmp_path: Path) -> None:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(siglip(tmp_path, "Llava"))
    setattr(config, KEY, "scope@64")
    with pytest.raises(
        ValueError, match=r"tower has no CLS token\. saliency parts that would work: .*received_attention"
    ):
        Served(config)
