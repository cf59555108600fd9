"""Objects on consoles and in notebooks: short, readable, escaped."""

from __future__ import annotations

import html.parser
import importlib
import inspect
from typing import Any

import pytest
import torch
from adapters.models import llava
from architecture.test_public import FACES

import scope_core as scope
from scope_adapters import HuggingFaceTower, TimmTower
from scope_core.adapters import Asked, Declaration, Encoding, LoadedModel, Offer, Reader, RecipeFit, ZooEntry
from scope_core.commands import Check, Command, Finding
from scope_core.display import card, facts_html, table_html
from scope_core.parts import Blocks, Calibration, Entry, Execution, GroupSize, Picks, Recipe, Span
from scope_core.tasks import Box, Example, Outcome, Question

MANY = 400
LONG = "<b>" + "x" * 3000
TOKENS = scope.VisualTokens.of(
    torch.randn(MANY, 16, 8), grid=(4, 4), signals={"vision.cls_attention[-2]": torch.rand(MANY, 2, 16)}
)
PRUNER = scope.Pruner({"recipe": "scope", "budget": 3, "coverage": "log_det", "merger": "average", "at": "projected"})

STREAMED = {"recipe": "divprune", "partition": "frame", "budget": {"name": "tokens", "keep": 3, "per": "frame"}}


def objects() -> list[Any]:
    """One object of each public class, as large as users have them."""
    selection = PRUNER.prune(TOKENS)
    layout = scope.Layout.of([[16] * 50] * MANY, prompts=range(MANY))
    model = llava()
    attachment = scope.Pruner("coverage_only@3").attach(model)
    attachment.detach()
    question = Question("id", LONG, LONG)
    registry = scope.default_registry()
    return [
        Reader(PRUNER, frozenset()), scope.Pruner(STREAMED).stream(),
        Calibration("heads", {LONG: LONG}, LONG, LONG, 9, (0.1,) * 9),
        registry, PRUNER, PRUNER.spec, PRUNER.stages[0], attachment, attachment.declaration, attachment.adapter,
        layout, layout.images[0], Span(0, 0, 3), GroupSize(4, (2, 2)), PRUNER.plan(layout), TOKENS,
        TOKENS.signals, selection,
        selection.mixed, selection.marks, PRUNER.receipt(selection), PRUNER.receipt(selection).images[0],
        scope.Receipt(LONG, LONG),
        scope.sweep("coverage_only", [2, 3], tokens=TOKENS, repeats=0),
        LoadedModel(model, str, str, LONG[:30], LONG), Encoding(TOKENS, layout, [TOKENS] * 9), Offer("vision.keys", 24),
        Asked({"input_ids": torch.zeros(9, 9)}, None, selection), RecipeFit("scope", LONG, (LONG,)),
        Declaration(LONG, {LONG: LONG}, ()), ZooEntry(LONG, LONG, LONG, LONG, LONG), Command(LONG, LONG, LONG),
        Check(LONG, LONG, LONG), Finding(LONG), Entry(LONG, LONG, LONG), Recipe(LONG, {LONG: LONG}, LONG),
        Execution(reason=LONG), Picks(selection.picks, selection.gains, selection.scores),
        Blocks.of(torch.randn(9, 3), torch.ones(9, dtype=torch.bool)), Box(LONG[:30], 0, 0, 1, 1), question,
        Example(LONG, str, (question,) * 99), Outcome(LONG, LONG, question, LONG, True),
        *(part for part in PRUNER.walk()), *(registry.get(kind, registry.names(kind)[0]) for kind in registry.kinds()),
    ]  # fmt: skip


OBJECTS = objects()
ABSTRACT = {
    *(
        "Tower",
        "Memo",
        "ModelAdapter",
        "Session",
        "Schedule",
        "Kernel",
        "Part",
        "Problem",
        "Slot",
        "Spec",
        "ComponentSpec",
    ),
    *("Statistic", "TokenPartition"),
    *("Budget", "Combiner", "Constraint", "CoverageFunction", "Merger", "Optimizer", "Partition", "PositionPolicy"),
    *(
        "SaliencySource",
        "Selector",
        "SimilarityMetric",
        "Statistic",
        "TokenPartition",
        "Task",
        "ScopeGroup",
        "State",
        "Picture",
        "Scoring",
    ),
}
"""Classes of which users have no object, or one of a subclass."""


def test_the_list_of_objects_has_each_public_class() -> None:
    values = [getattr(importlib.import_module(face), name) for face, names in FACES.items() for name in names.split()]
    classes = {value for value in values if inspect.isclass(value) and value.__module__.startswith("scope_core")}
    classes = {cls for cls in classes if not issubclass(cls, Warning | Exception) and cls.__name__ not in ABSTRACT}
    assert not {cls.__name__ for cls in classes if not any(isinstance(one, cls) for one in OBJECTS)}


@pytest.mark.parametrize("value", OBJECTS, ids=lambda value: type(value).__name__)
def test_reprs_are_one_short_line(value: Any) -> None:
    assert len(repr(value)) <= 260
    assert "\n" not in repr(value)
    assert " object at 0x" not in repr(value)


class Tags(html.parser.HTMLParser):
    """Checks that every tag is closed, and collects the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert tag in ("div", "b", "span", "table", "thead", "tbody", "tr", "th", "td", "pre", "img"), tag
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


SHOWN = [value for value in OBJECTS if hasattr(value, "_repr_html_")]


@pytest.mark.parametrize("value", SHOWN, ids=lambda value: type(value).__name__)
def test_html_is_small_and_escaped(value: Any) -> None:
    page = value._repr_html_()
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert len(page) < 12_000
    assert "<b>x" not in page


def test_what_is_shown_in_notebooks() -> None:
    kinds = {type(value).__name__ for value in SHOWN}
    assert kinds >= {
        *("Registry", "Pruner", "PrunerSpec", "Plan", "VisualTokens", "Selection", "Receipt", "LoadedModel"),
        *("Attachment", "Sweep"),
    }


def test_the_short_forms_say_what_matters() -> None:
    layout = scope.Layout.of([16, 16])
    assert repr(layout) == "Layout.of([16, 16])"
    assert eval(repr(scope.Layout.of([[4, 4], 9], prompts=[0, 1])), {"Layout": scope.Layout}) == scope.Layout.of(
        [[4, 4], 9], prompts=[0, 1]
    )
    assert repr(scope.Pruner("scope@4").plan(layout)) == "Plan(32 -> 8 tokens of 2 images)"
    few = scope.VisualTokens.of(torch.randn(1, 4, 2), grid=(2, 2))
    assert repr(few) == "VisualTokens(1 image x 4 tokens x 2, float32 on cpu)"
    one = scope.Pruner("coverage_only@1").prune(few)
    assert repr(one) == "Selection(counts=(1,), tokens=4)"
    assert (
        repr(scope.Pruner("coverage_only@1").receipt(one))
        == "Receipt(coverage_only@1 at vision: 4 -> 1 tokens of 1 image)"
    )
    assert 'src="data:image/png;base64,' in one._repr_html_()
    assert "1 of 4 kept" in one._repr_html_()
    assert "src" not in scope.Pruner("coverage_only@1").prune(scope.VisualTokens.of(torch.randn(1, 4, 2)))._repr_html_()


def test_towers_have_names() -> None:
    for cls in (HuggingFaceTower, TimmTower):
        tower = object.__new__(cls)
        tower.name, tower.size = "dinov2-small", 336
        assert repr(tower) == f"{cls.__name__}('dinov2-small', 336 x 336 pixels)"


def test_tables_say_how_many_rows_are_left_out() -> None:
    assert "and 1,990 more" in table_html(("a", "b"), [(1, "<i>")] * 2000, 10)
    assert "&lt;i&gt;" in table_html(("a", "b"), [(1, "<i>")])
    assert facts_html([("none", ""), ("zero", 0)]).count("<tr>") == 1
    assert "&lt;" in card("<", aside="<")
