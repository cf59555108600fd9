"""Every registered Hugging Face adapter keeps every promise of `scope_core.testing`, and the kit sees broken ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import scope_core as scope
from adapters import any_type, anyres, mistral3, models, qwen, tiled, video_llava
from adapters.installed import takes_embeddings
from scope_adapters.compat.transformers import language_model
from scope_adapters.hosts.huggingface.adapter import HuggingFaceAdapter
from scope_core.testing import PROPERTIES, check_adapter

PLANS, BY_HAND = "plans_come_true", "logits_match_hand_built_embeddings"
PLACES = "signals_and_places_belong_to_the_token_that_a_patch_moves"
Sizes = Sequence[Sequence[tuple[int, int]] | None]


@dataclass(frozen=True)
class Case:
    """A model, the kit's three prompts for it, and what its adapter is expected to leave untried.

    Attributes:
        make: ``() -> (model, prompts)``; prompts have ``inputs`` and ``row(number)``.
        sizes: Of the images of each prompt; None where plans are tested elsewhere.
        untried: Properties that cannot be tried on this model.
    """

    make: Callable[[], tuple[Any, Any]]
    sizes: Sizes | None = None
    untried: tuple[str, ...] = ()


def _llava(name: str) -> Case:
    rows = models.MIXED
    return Case(
        lambda: (models.shared(name), models.batch(*rows, tokens=models.tokens_of(name))),
        [[(28, 28)], [], [(40, 20), (7, 9)]],
    )


WIDE = [[(40, 50)], [], [(25, 56), (100, 30)]]


def _anyres(make: Callable[[], Any], *, grouped: bool = False) -> Case:
    def made() -> tuple[Any, Any]:
        model = make()
        return model, anyres.prompts(model, [3, (40, 50), 4], [5], [2, (25, 56), 3, (100, 30), 5], grouped=grouped)

    return Case(made, [WIDE[0], [], None] if grouped else WIDE)


def _tiled(name: str, *untried: str) -> Case:
    rows = ([3, "1x2", 4], [6], [2, "1", 1, "2x1", 5])
    return Case(lambda: (tiled.shared(name), tiled.prompts(name, *rows)), None, (PLANS, *untried))


def _qwen(name: str) -> Case:
    rows = ([3, (4, 6), 4], [6], [2, (2, 4), 1, (6, 4), 5])
    return Case(lambda: (qwen.shared(name), qwen.prompts(*rows)), None, (PLANS, BY_HAND))


def _mistral3() -> Case:
    rows = ([3, (2, 3), 4], [6], [2, (3, 2), 1, (1, 4), 5])
    side = mistral3.SIDE
    sizes = [[(2 * side, 3 * side)], [], [(3 * side, 2 * side), (side, 4 * side)]]
    return Case(lambda: (mistral3.mistral3(), mistral3.prompts(*rows)), sizes)


def _any_type(name: str) -> Case:
    untried = (
        PLANS,
        *((BY_HAND,) if name in (*any_type.AXES, *any_type.BESIDE) else ()),
        *((PLACES,) if name in any_type.PLACELESS else ()),
    )
    return Case(lambda: (any_type.model(name), any_type.prompts(name)), None, untried)


def _video_llava() -> Case:
    rows = models.MIXED
    sizes = [[(28, 28)], [], [(40, 20), (7, 9)]]
    return Case(lambda: (video_llava.video_llava(), video_llava.prompts(*rows)), sizes)


CASES: dict[str, dict[str, Case]] = {
    "llava": {name: _llava(name) for name in ("clip", "siglip", "clip-full")},
    "llava_next": {
        "vicuna": _anyres(anyres.next_model),
        "mistral": _anyres(lambda: anyres.next_model("mistral")),
    },
    "llava_next_video": {"vicuna": _anyres(lambda: anyres.next_model(kind="LlavaNextVideo"))},
    "llava_onevision": {
        "interpolated": _anyres(anyres.onevision_model),
        "exact": _anyres(lambda: anyres.onevision_model(limit=9)),
        "grouped": _anyres(anyres.onevision_model, grouped=True),
    },
    "video_llava": {"video_llava": _video_llava()},
    "vipllava": {"vipllava": _tiled("vipllava")},
    "mistral3": {"mistral3": _mistral3()},
    "paligemma": {"paligemma": _tiled("paligemma"), "paligemma2": _tiled("paligemma2")},
    "gemma3": {"gemma3": _tiled("gemma3")},
    "internvl": {"internvl": _tiled("internvl")},
    "idefics3": {"idefics3": _tiled("idefics3")},
    "smolvlm": {"smolvlm": _tiled("smolvlm")},
    "qwen2_vl": {"qwen2_vl": _qwen("qwen2_vl")},
    "qwen2_5_vl": {"qwen2_5_vl": _qwen("qwen2_5_vl")},
    **{name: {name: _qwen(name)} for name in ("qwen3_vl", *qwen.MORE)},
    "generic": {name: _any_type(name) for name in any_type.served() if name not in any_type.LONG},
}
"""By adapter, by kind of model. An adapter that is registered has to be here."""


ELSEWHERE = {"llava_original": "test_llava_original.py", "tinyllava": "test_llava_forks.py"}
"""Adapters of other hosts, and the tests that run the kit on them."""


def test_every_registered_adapter_has_a_model() -> None:
    records = scope.default_registry().records("adapter")
    theirs = [record.name for record in records if issubclass(record.target, HuggingFaceAdapter)]
    assert sorted(CASES) == theirs, "give the adapter a tiny model in CASES"
    assert sorted([*CASES, *ELSEWHERE]) == [record.name for record in records], "run check_adapter on it in its tests"
    for name, file in ELSEWHERE.items():
        assert f'check_adapter("{name}"' in (Path(__file__).parent / file).read_text(encoding="utf-8")


MARKS = {
    **{(name, name): qwen.mark(name) for name in ("qwen3_vl", *qwen.MORE)},
    ("llava_onevision", "grouped"): anyres.shared_prompts,
    ("video_llava", "video_llava"): video_llava.named,
}
"""Models that some releases of transformers do not have."""


@pytest.mark.parametrize(
    ("adapter", "kind"),
    [
        pytest.param(name, kind, marks=MARKS.get((name, kind), ()))
        for name, cases in CASES.items()
        for kind in cases
        if name != "generic"  # test_conformance_generic.py
    ],
)
def test_adapter_keeps_its_promises(adapter: str, kind: str) -> None:
    keep_promises(adapter, kind)


def keep_promises(adapter: str, kind: str) -> None:
    """Run the kit on one of `CASES`; fails if the adapter breaks a promise, or leaves another one untried."""
    case = CASES[adapter][kind]
    model, given = case.make()
    report = check_adapter(
        adapter,
        model,
        lambda rows: given.inputs if len(rows) == 3 else given.row(rows[0]).inputs,
        sizes=case.sizes,
        decoder=language_model(model),
    )
    untried = {*case.untried, *(() if takes_embeddings(model) else (BY_HAND,))}
    assert set(report.skipped) == untried, report
    assert set(report.passed) == set(PROPERTIES) - untried
    assert scope.default_registry().build_named("adapter", adapter).check(model).untried == ""
