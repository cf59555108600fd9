"""The main job on a photograph: attach SCOPE to a LLaVA with the real tower, generate, read the receipt."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

import scope_core as scope
from photographs.conftest import Encoded, photographs
from scope_core.adapters import LoadedModel, Tower

pytestmark = pytest.mark.tower

QUESTION = "What is in the picture?"


@pytest.fixture(scope="module")
def loaded(tower: Tower) -> LoadedModel:
    return scope.load("llava-dinov2-random")


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    return photographs()["astronaut"]


def test_generate_with_scope(loaded: LoadedModel, astronaut: Image.Image) -> None:
    inputs = loaded.inputs([astronaut], QUESTION)
    length = inputs["input_ids"].shape[1]
    plain = loaded.model.generate(**inputs, max_new_tokens=4, do_sample=False)
    with scope.Pruner("scope@64").attach(loaded.model) as pruning:
        pruned = loaded.model.generate(**inputs, max_new_tokens=4, do_sample=False)
    assert torch.equal(pruned[:, :length], inputs["input_ids"])
    assert pruned.shape == plain.shape
    assert [(image.tokens, image.kept) for image in pruning.receipt.images] == [(576, 64)]
    assert "576 -> 64" in str(pruning.receipt)
    assert "vision.cls_attention[-2]" in str(pruning.receipt)


def test_keeping_everything_changes_nothing(loaded: LoadedModel, astronaut: Image.Image) -> None:
    inputs = loaded.inputs([astronaut], QUESTION)
    plain = loaded.model(**inputs).logits
    with scope.Pruner("scope@576").attach(loaded.model):
        pruned = loaded.model(**inputs).logits
    assert torch.equal(plain, pruned)


def test_attached_model_picks_what_the_tower_alone_picks(loaded: LoadedModel, encoded: Encoded) -> None:
    photos = photographs()
    images = [photos[name] for name in encoded.names[:3]]
    with scope.Pruner("scope@64").attach(loaded.model) as pruning:
        loaded.model.generate(**loaded.inputs(images, QUESTION), max_new_tokens=1, do_sample=False)
    alone = scope.Pruner("scope@64").prune(encoded.tokens)
    assert torch.equal(pruning.receipt.selection.picks, alone.picks[:3])


def test_answers_depend_on_the_photograph(loaded: LoadedModel) -> None:
    """Otherwise the tests above would prove nothing."""
    photos = photographs()
    logits = [loaded.model(**loaded.inputs([photos[name]], QUESTION)).logits[:, -1] for name in ("astronaut", "flower")]
    assert not torch.allclose(logits[0], logits[1])
