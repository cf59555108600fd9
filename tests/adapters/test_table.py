"""The table of adapters says what adapters declare."""

from __future__ import annotations

import offers
import pytest

import scope_core as scope
from adapters import any_type
from adapters.test_conformance import CASES
from scope_adapters.table import HEAD, Row, declaration, markdown, rows
from scope_core.adapters import ZooEntry

pytestmark = offers.default_models
TESTED = {name: tuple(kinds) for name, kinds in CASES.items()}


@pytest.fixture(scope="module")
def table() -> dict[str, Row]:
    return {row.name: row for row in rows(tested=TESTED)}


def test_every_adapter_has_a_row(table: dict[str, Row]) -> None:
    assert list(table) == scope.default_registry().names("adapter")
    for name, row in table.items():
        assert row.tested == TESTED.get(name, ())
        assert len(row.cells()) == len(HEAD)
        assert all(row.cells()[:-1]), name


def test_rows_are_true_of_default_models(table: dict[str, Row]) -> None:
    for name, cls in {"llava": True, "llava_next": True, "llava_onevision": False, "internvl": True}.items():
        found = table[name].declaration
        assert found is not None
        assert found.has_cls == cls
        assert ("vision.cls_attention" in {offer.family for offer in found.offers}) == cls
        assert set(found.points) == {"vision", "projected"}
    assert table["llava"].cells()[:3] == (
        "`llava`",
        "LLaVA-1.5 on Hugging Face transformers >= 4.52 (`llava`)",
        "yes",
    )


def test_markdown() -> None:
    lines = markdown(tested={"llava": ["clip", "siglip"]}).splitlines()
    assert len(lines) == 2 + len(scope.default_registry().names("adapter"))
    assert lines[0] == "| " + " | ".join(HEAD) + " |"
    (llava,) = (line for line in lines if line.startswith("| `llava` |"))
    assert llava.endswith("| one token per patch | clip, siglip |")


GENERIC = {
    "aya-vision-8b": "aya_vision",
    "glm-4.1v-9b-thinking": "glm4v",
    "gemma-4-e2b": "gemma4",
    "gemma-4-31b": "gemma4",
    "molmo2-8b": "molmo2",
    "lfm2-vl-1.6b": "lfm2_vl",
    "minicpm-v-4.6": "minicpmv4_6",
    "kimi-k2.6": "kimi_k25",
}
"""Types of checkpoints that the generic adapter serves, whose proof needs weights."""


@pytest.mark.parametrize(
    "entry",
    [record.item for record in scope.default_registry().records("zoo") if record.item.kind == "model"],
    ids=lambda entry: entry.name,
)
def test_specs_that_the_zoo_begins_with_fit_their_models(entry: ZooEntry) -> None:
    registry = scope.default_registry()
    if entry.adapter == "generic":
        kind = GENERIC[entry.name]
        if kind not in any_type.served():
            pytest.skip(f"transformers without encoded images of {kind}")
        found = registry.build_named("adapter", "generic").check(any_type.model(kind))
    else:
        found = declaration(registry, entry.adapter, entry.adapter)
    pruner = scope.Pruner(entry.recipe)
    assert found.lacks(pruner.needs) == []
    assert pruner.spec.at in found.points
