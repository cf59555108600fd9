"""A part that fails on some images, in a running engine: a fallback, or with ``strict`` an error for those requests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from engines import HuggingFace, Prompt, engine, overrides_for
from samples import picture
from test_rehearsal import with_score  # noqa: F401

import scope_core as scope
from scope_adapters.serving import metrics, strict

SPEC = {"recipe": "scope", "saliency": "acme.fake", "combiner": "saliency_only", "budget": 64}
SOUND = {**SPEC, "saliency": "feature_norm"}
GRID = "uniform_grid@64"
IMAGES = [picture(number) for number in range(6)]
FAULTY = (1, 4)
"""Every third image."""


@pytest.fixture(scope="module")
def huggingface(llava: Path) -> HuggingFace:
    return HuggingFace.load(llava)


@pytest.fixture
def with_faults(huggingface: HuggingFace, with_score: Any) -> Callable[[bool], None]:  # noqa: F811
    """A function that registers a part which raises, or gives NaN, on the images `FAULTY`, and on no other."""
    with scope.Pruner(GRID).attach(huggingface.model) as pruning:
        inputs = huggingface.processor(text="<image>", images=[IMAGES[FAULTY[0]]], return_tensors="pt")
        marks = [pruning.encode(inputs).tokens.features[0, 0]]
        inputs = huggingface.processor(text="<image>", images=[IMAGES[FAULTY[1]]], return_tensors="pt")
        marks.append(pruning.encode(inputs).tokens.features[0, 0])

    def install(raising: bool) -> None:
        def score(tokens: scope.VisualTokens) -> torch.Tensor:
            norms = tokens.features.float().norm(dim=-1)
            same = [row.shape == mark.shape and torch.allclose(row.float(), mark, atol=1e-3)
                    for row in tokens.features[:, 0] for mark in marks]  # fmt: skip
            if any(same) and raising:
                raise KeyError("a picture it does not like")
            return norms * torch.nan if any(same) else norms

        with_score(score)

    return install


@pytest.mark.parametrize("raising", [True, False], ids=["raises", "nan"])
def test_every_third_image_falls_back_and_is_counted(
    llava: Path, huggingface: HuggingFace, with_faults: Callable[[bool], None], tmp_path: Path, raising: bool
) -> None:
    with_faults(raising)
    options = overrides_for(llava, SPEC)
    options["hf_overrides"][metrics.KEY] = str(tmp_path)
    wanted = [huggingface.answer(Prompt([image]), GRID if number in FAULTY else SOUND)[0]
              for number, image in enumerate(IMAGES)]  # fmt: skip
    with engine(llava, SPEC, **options) as running:
        assert running.answers(*(Prompt([image]) for image in IMAGES)) == wanted
    (folder,) = tmp_path.iterdir()  # that of this server
    ((labels, number),) = metrics.totals([folder]).fallbacks.items()
    assert (labels[0], labels[2], number) == ("saliency 'acme.fake'", "KeyError" if raising else "TokensError", 2)


def test_strict_ends_only_the_requests_with_such_an_image(
    llava: Path, huggingface: HuggingFace, with_faults: Callable[[bool], None], tmp_path: Path
) -> None:
    """In mixed batches, twice: the second time the images are in vLLM's caches."""
    with_faults(True)
    options = overrides_for(llava, SPEC)
    options["hf_overrides"] |= {metrics.KEY: str(tmp_path), strict.KEY: True}
    pairs = [(0,), (1,), (2, 3), (3, 4), (5,)]
    prompts = [Prompt([IMAGES[number] for number in pair]) for pair in pairs]
    with engine(llava, SPEC, **options, scheduler_cls=strict.SCHEDULER, max_num_batched_tokens=160) as running:
        for _ in range(2):
            for pair, prompt, output in zip(pairs, prompts, running.ask(*prompts), strict=True):
                if set(pair) & set(FAULTY):
                    assert output.outputs[0].finish_reason == "error"
                else:
                    assert list(output.outputs[0].token_ids) == huggingface.answer(prompt, SOUND)[0]


def test_an_engine_that_could_not_end_requests_does_not_start(llava: Path, tmp_path: Path) -> None:
    for missing, given in (("--scheduler-cls", {}), (metrics.KEY, {"scheduler_cls": strict.SCHEDULER})):
        options = overrides_for(llava, "scope@64")
        options["hf_overrides"][strict.KEY] = True
        with pytest.raises(scope.SpecError, match=missing), engine(llava, "scope@64", **options, **given):
            pass
    options["hf_overrides"] |= {metrics.KEY: str(tmp_path)}
    shared = {"scheduler_cls": strict.SCHEDULER, "mm_processor_cache_type": "shm"}
    with pytest.raises(scope.SpecError, match="cache of type shm"), engine(llava, "scope@64", **options, **shared):
        pass
