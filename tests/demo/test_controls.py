"""Controls of options, from the schema: every option of every installed part can be set by one."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Literal

import pytest

import scope_core as scope
from scope_core.commands import read_spec, read_spec_text
from scope_core.parts import ComponentSpec, Entry, hookimpl
from scope_demo.controls import NONE, Controls, value_of
from scope_demo.specs import changed, yaml_of


class GlowSpec(ComponentSpec):
    """A third-party saliency."""

    name: Literal["acme.glow"] = "acme.glow"
    strength: float = 0.5
    """How bright. Also how warm."""
    rounds: int = 3
    soft: bool = False
    edges: Literal["keep", "drop"] = "keep"
    layers: tuple[int, ...] = (1, 2)


def plugin() -> ModuleType:
    module = ModuleType("glow")

    @hookimpl
    def scope_saliency_sources() -> Iterator[Entry]:
        yield Entry(GlowSpec, "cli.fake_zoo:Sharpness", "glows")

    module.scope_saliency_sources = scope_saliency_sources  # type: ignore[attr-defined]
    return module


def test_each_control_sets_its_option(registry: scope.Registry) -> None:
    controls, tried = Controls(registry), set()
    for name in registry.names("recipe"):
        spec = read_spec(name, registry, budget=64)
        text = yaml_of(name, 64, registry)
        found = controls.of(spec)
        assert len({one.path for one in found}) == len(found)
        for control in found:
            if (same := (control.path, str(control.value))) in tried:  # as many recipes have it
                continue
            tried.add(same)
            assert (
                read_spec_text(changed(text, control.path, as_is(control, spec, registry), registry), registry) == spec
            )


def as_is(control, spec, registry):  # type: ignore[no-untyped-def]
    """The value that the spec has there: for parts the whole table, since a name alone stands for default options."""
    if control.kind != "part":
        return value_of(control, control.value)
    here = spec.to_table(registry)
    for step in control.path:
        if isinstance(here, str):  # a part with its default options
            return value_of(control, control.value)
        here = here[step]
    return here


def test_a_number_keeps_its_limits(registry: scope.Registry) -> None:
    found = {one.label: one for one in Controls(registry).of(read_spec("scope@64", registry))}
    alpha = found["combiner.alpha"]
    assert (alpha.kind, alpha.value, alpha.least, alpha.most) == ("number", 1.0, 0, None)
    assert found["saliency.layer"].kind == "integer"
    assert found["saliency.heads"].choices == ("sum", "mean", "max")
    assert set(found["coverage"].choices) == set(registry.names("coverage"))


def test_a_third_party_part_and_its_options_appear_by_being_installed(registry: scope.Registry) -> None:
    more = registry.with_module(plugin(), name="glow.py")
    found = {
        one.label: one
        for one in Controls(more).of(read_spec({"recipe": "scope", "budget": 9, "saliency": "acme.glow"}, more))
    }
    assert "acme.glow" in found["saliency"].choices
    kinds = {label: (one.kind, one.value, one.about) for label, one in found.items() if label.startswith("saliency.")}
    assert kinds == {
        "saliency.strength": ("number", 0.5, "How bright"),
        "saliency.rounds": ("integer", 3, ""),
        "saliency.soft": ("switch", False, ""),
        "saliency.edges": ("choice", "keep", ""),
        "saliency.layers": ("yaml", "[1, 2]", ""),
    }


def test_what_is_no_value_is_refused_in_words(registry: scope.Registry) -> None:
    found = {one.label: one for one in Controls(registry).of(read_spec("scope@64", registry))}
    with pytest.raises(scope.SpecError, match=r"combiner\.alpha: no number is given"):
        value_of(found["combiner.alpha"], None)
    with pytest.raises(scope.SpecError, match="this is not YAML"):
        value_of(found["memory"], "[1,")
    assert value_of(found["memory"], "") is None
    assert value_of(found["saliency"], NONE) is None
