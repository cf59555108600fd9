"""The public test kit without transformers: snapshots, and a host that has no prompts and no generate()."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

import scope_core as scope
from scope_core import Layout, VisualTokens
from scope_core.adapters import Declaration, ModelAdapter, Offer, replace_attribute
from scope_core.parts import ComponentSpec, Entry
from scope_core.testing import PROPERTIES, ConformanceError, check_adapter, diff, snapshot


class Vlm(nn.Module):
    """Pixels in, features out."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Conv2d(3, 32, kernel_size=14, stride=14)
        self.projector = nn.Linear(32, 16)
        self.decoder = nn.GRU(16, 16, batch_first=True)
        self.stages = [1, 2]
        self.register_buffer("scale", torch.ones(2))

    def encode_images(self, pixels: Tensor) -> Tensor:
        return self.projector(self.tower(pixels).flatten(2).transpose(1, 2))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.decoder(self.encode_images(pixels))[0]


class VlmSpec(ComponentSpec):
    name: Literal["acme.tiny"] = "acme.tiny"


class VlmAdapter(ModelAdapter[VlmSpec]):
    def matches(self, model: Any) -> bool:
        return isinstance(model, Vlm)

    def check(self, model: Any) -> Declaration:
        return Declaration(
            model="Vlm",
            points={"projected": "what the decoder reads"},
            offers=(Offer("projected"),),
            modules={"tower": "tower", "projector": "projector", "stages": "stages"},
        )

    def layout(self, model: Any, sizes: Sequence[tuple[int, int]]) -> Layout:
        return Layout.of([(height // 14) * (width // 14) for height, width in sizes])

    def install(self, model: Any, attachment: Any, undo: ExitStack) -> None:
        encode = model.encode_images

        def pruned(pixels: Tensor) -> Tensor:
            projected = encode(pixels)
            rows, cols = pixels.shape[2] // 14, pixels.shape[3] // 14
            tokens = VisualTokens.of(projected, grid=(rows, cols), signals={"projected": projected})
            return attachment.prune(tokens, Layout.of([rows * cols] * len(pixels))).gather(projected)

        replace_attribute(model, "encode_images", pruned, undo)


def make_inputs(rows: Sequence[int]) -> dict[str, Any]:
    pictures = torch.randn(3, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    return {"pixels": torch.cat([{0: pictures[:1], 1: pictures[:0], 2: pictures[1:]}[row] for row in rows])}


SIZES = [[(56, 56)], [], [(56, 56)] * 2]


def tiny() -> Vlm:
    torch.manual_seed(0)
    return Vlm().eval()


def test_a_host_of_another_kind() -> None:
    model = tiny()
    entry = Entry(VlmSpec, VlmAdapter, "a guest")
    report = check_adapter(entry, model, make_inputs, sizes=SIZES)
    no_prompts = {"batches_match_single_prompts", "images_may_keep_no_tokens"}
    at_the_decoder = {name for name in PROPERTIES if "decoder" in name or "embeddings" in name}
    assert set(report.skipped) == no_prompts | at_the_decoder
    assert len(at_the_decoder) == 3
    assert "no get_decoder(); pass decoder=" in report.skipped["decoder_reads_exactly_the_kept_tokens"]
    assert report.skipped["batches_match_single_prompts"] == "the model's calls have no prompts"
    report = check_adapter(entry, model, make_inputs, sizes=SIZES, decoder=model.decoder)
    assert report.passed == tuple(name for name in PROPERTIES if name not in report.skipped)


def test_a_host_of_another_kind_broken() -> None:
    class Wrong(VlmAdapter):
        def install(self, model: Any, attachment: Any, undo: ExitStack) -> None:
            super().install(model, attachment, undo)
            model.stages.append(3)

    with pytest.raises(ConformanceError, match=r"stages entries: \(1, 2, 3\) -> \(1, 2, 3, 3"):
        check_adapter(Entry(VlmSpec, Wrong, "a guest"), tiny(), make_inputs)
    assert issubclass(ConformanceError, scope.ScopeError)
    assert issubclass(ConformanceError, AssertionError)


class TestMistakesOfTheTest:
    """What is wrong with the test is not blamed on the adapter."""

    @pytest.mark.parametrize(
        ("adapter", "text"),
        [
            (VlmAdapter, "adapter is the class VlmAdapter; wrap it: Entry"),
            (None, "adapter is None; give its name"),
            ({"nam": "acme.tiny"}, "give its name, a table with its name"),
        ],
    )
    def test_adapter(self, adapter: Any, text: str) -> None:
        with pytest.raises(scope.AdapterError, match=text):
            check_adapter(adapter, tiny(), make_inputs)

    @pytest.mark.parametrize(
        ("inputs", "text"),
        [
            (make_inputs([0]), "make_inputs is dict; give a function"),
            (lambda rows: torch.zeros(1), r"make_inputs\(\[0\]\) returned Tensor; expected keyword arguments"),
            (
                lambda rows: {"pixels": torch.rand(len(rows), 3, 56, 56)},
                r"make_inputs\(\[0\]\) gave another 'pixels' when it was called again",
            ),
        ],
    )
    def test_inputs(self, inputs: Any, text: str) -> None:
        with pytest.raises(scope.AdapterError, match=text):
            check_adapter(Entry(VlmSpec, VlmAdapter, "a guest"), tiny(), inputs)


def test_nothing_changed() -> None:
    model = tiny()
    before = snapshot(model, values=True)
    model(**make_inputs([0, 2]))
    assert diff(before, snapshot(model, values=True)) == []


def _write(model: Vlm) -> None:
    with torch.no_grad():
        model.projector.weight[0, 0] += 1


def _write_around_autograd(model: Vlm) -> None:
    model.projector.weight.data[0, 0] += 1


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda model: setattr(model.tower, "flag", 1), "tower attribute"),
        (lambda model: model.tower.register_forward_hook(lambda *_: None), "tower._forward_hooks entries"),
        (
            lambda model: model.projector.register_forward_pre_hook(lambda *_: None),
            "projector._forward_pre_hooks entries",
        ),
        (lambda model: setattr(model, "forward", model.forward), "(root).forward"),
        (lambda model: model.train(), "(root).training: False -> True"),
        (lambda model: model.stages.append(3), "(root).stages entries"),
        (lambda model: setattr(model.projector, "weight", nn.Parameter(torch.zeros(16, 32))), "projector._parameters"),
        (lambda model: model.projector.requires_grad_(False), "projector.weight written"),
        (_write, "projector.weight written"),
        (_write_around_autograd, "projector.weight sums"),
        (lambda model: model.scale.mul_(2), "(root).scale written"),
        (lambda model: setattr(model, "__class__", type("Other", (Vlm,), {})), "(root) class"),
        (lambda model: model.add_module("more", nn.Linear(1, 1)), "(root)._modules entries"),
    ],
)
def test_what_a_snapshot_sees(change: Callable[[Vlm], Any], path: str) -> None:
    model = tiny()
    before = snapshot(model, values=True)
    change(model)
    found = diff(before, snapshot(model, values=True))
    assert any(path.removesuffix(" attribute") in line for line in found), found


def test_classes_and_global_hooks_are_seen() -> None:
    model = tiny()
    before = snapshot(model)
    hook = nn.modules.module.register_module_forward_hook(lambda *_: None)
    Vlm.forward, kept = (lambda self, pixels: pixels), Vlm.forward
    try:
        found = diff(before, snapshot(model))
    finally:
        hook.remove()
        Vlm.forward = kept
    assert any(line.startswith("torch._global_forward_hooks entries") for line in found)
    assert any("Vlm.forward" in line for line in found)
    assert diff(before, snapshot(model)) == []


def test_ignored_paths() -> None:
    model = tiny()
    before = snapshot(model)
    model.note = 1
    assert diff(before, snapshot(model)) == ["(root).note: absent -> 1"]
    assert diff(before, snapshot(model), ignore={"(root).note"}) == []
