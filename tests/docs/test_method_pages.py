"""Every method has a page, which says what its recipe says; a third-party recipe gets one, too."""

from __future__ import annotations

import json
import re
import types
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import scope_core as scope
from docs.pages import ROOT, blocks
from scope_adapters import method_page
from scope_adapters.pages.facts import Method, methods
from scope_core.cli import app
from scope_core.parts import Recipe, hookimpl

METHODS = ROOT / "docs" / "methods"
RESULTS = json.loads((ROOT / "docs" / "evidence" / "strategies" / "results.json").read_text("utf-8"))
REGISTRY = scope.default_registry()
NAMES = [one.name for one in methods(REGISTRY)]
UNDRAWN = (
    *("anchorprune", "autoprune", "clse", "d2pruner", "eadp", "feather", "fitprune", "ivcprune", "priortr", "topv"),
    *("v2drop", "vscan", "vtw", "zooprune"),
)
"""Methods that read what neither the tower nor the model at hand has."""
SECTIONS = ["Formula", "Parts", "Swap one part", "Variants", "Where it runs", "Figures on the embedded benchmark"]
TWO_STEP = Recipe(
    "acme.two_step",
    {"saliency": "cls_attention", "budget": 32},
    "the most salient tokens, then others",
    paper="Two Steps, arXiv 2601.00001",
    about="It rewards saliency. Use it first.",
    formula="keep = the best",
)


def page(name: str) -> str:
    return (METHODS / f"{name}.md").read_text("utf-8")


def test_every_method_has_a_page_and_an_image_and_no_other_has() -> None:
    assert {path.stem for path in METHODS.glob("*.md")} == {*NAMES, "README"}
    assert {path.stem for path in (ROOT / "docs" / "pictures" / "methods").iterdir()} == {*NAMES} - {*UNDRAWN}


@pytest.mark.parametrize("name", NAMES)
def test_a_page_holds_what_the_recipe_says(name: str) -> None:
    method, text = Method(name, REGISTRY), page(name)
    item, plain = method.item, " ".join(text.split())
    assert item.about in plain
    assert len(re.findall(r"[.!?](?= |$)", item.about)) == 2, "two sentences"
    assert item.formula in text
    found = re.findall(r"^## (.+)$", text, re.MULTILINE)
    wanted = [title for title in SECTIONS if title != "Variants" or method.variants]
    assert found == wanted + ["Differences from its release"] * bool(item.differences)
    assert item.code in text
    for variant in method.variants:
        assert f"| `{variant.name}` | {variant.item.summary} |" in text
    long, swapped = (yaml.safe_load(block.body) for block in blocks(text) if block.language == "yaml")
    assert scope.Pruner(long).spec == method.pruner.spec.model_copy(update={"recipe": None})
    changed = scope.Pruner(swapped).spec
    assert changed != method.pruner.spec
    assert changed.recipe == name


def test_one_source_feeds_the_pages_and_the_page_on_parity() -> None:
    parity = (ROOT / "docs" / "numerics-and-parity.md").read_text("utf-8")
    for name in NAMES:
        differences = Method(name, REGISTRY).differences()
        assert differences in parity, name
        first = differences.partition("](")[0]
        assert first in page(name), name


def test_figures_are_those_that_were_measured() -> None:
    measured = {run["name"] for run in RESULTS["runs"] if run["role"] != "bound"}
    for name in NAMES:
        row = re.search(rf"^\| `{name}` \| (\d.*) \|$", page(name).partition("## Figures")[2], re.MULTILINE)
        assert (row is not None) == (name in measured), name
        if row:
            runs = {run["keep"]: run for run in RESULTS["runs"] if run["name"] == name}
            shown = [cell.partition("±")[0] for cell in row[1].split(" | ")]
            assert shown == [f"{100 * runs[keep]['accuracy']:.1f}" for keep in RESULTS["budgets"]]


def test_the_index_has_one_line_for_every_method_and_the_readme_too() -> None:
    index = page("README").partition("<div data-filter></div>")[2]
    assert sorted(re.findall(r"^\| \[(\w+)\]\(\1\.md\) ", index, re.MULTILINE)) == sorted(NAMES)
    readme = (ROOT / "README.md").read_text("utf-8")
    assert sorted(re.findall(r"^- \[(\w+)\]\(docs/methods/\1\.md\)", readme, re.MULTILINE)) == sorted(NAMES)


@pytest.mark.parametrize(
    ("name", "cls", "text", "attention_free", "merges", "served"),
    [
        ("scope", True, False, False, False, True),
        ("divprune", False, False, True, False, True),
        ("mmtok", False, True, True, False, False),
        ("visionzip", True, False, False, True, True),
        ("fastv", False, True, False, False, False),
        ("dart", False, True, True, False, False),
        ("prumerge", True, False, False, True, False),
    ],
)
def test_facts(name: str, cls: bool, text: bool, attention_free: bool, merges: bool, served: bool) -> None:
    method = Method(name, REGISTRY)
    found = (method.needs_cls, method.needs_text, method.attention_free, method.merges, not method.served())
    assert found == (cls, text, attention_free, merges, served)


def test_a_third_party_recipe_gets_a_page() -> None:
    variant = Recipe("acme.two_step@fast", {**TWO_STEP.spec, "combiner": "saliency_only"}, "quick")
    registry = with_recipes(TWO_STEP, variant)
    text = method_page("acme.two_step@fast", registry=registry, image="kept.png", results=RESULTS)
    assert text.startswith("# acme.two_step\n\nIt rewards saliency. Use it first.\n\n![")
    assert "](https://arxiv.org/abs/2601.00001)" in text
    assert "| `acme.two_step@fast` | quick | `combiner: saliency_only` |" in text
    assert "`acme.two_step` was not measured" in text
    assert "](../" not in text
    assert "parts.md" not in text
    bare = method_page("acme.bare", registry=with_recipes(Recipe("acme.bare", {"budget": 8}, "some tokens")))
    assert bare.startswith("# acme.bare\n\nSome tokens.\n\n| keeps")
    with pytest.raises(scope.UnknownNameError, match="did you mean 'scope'"):
        method_page("scop")


def with_recipes(*recipes: Recipe) -> scope.Registry:
    return REGISTRY.with_module(types.SimpleNamespace(scope_recipes=hookimpl(lambda: recipes)), name="acme")


def test_the_command_writes_it_and_refuses_other_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scope_adapters.pages.command.hosts", lambda registry: [])
    out = tmp_path / "page.md"
    words = ["page", "divprune", "--results", str(ROOT / "docs" / "evidence" / "strategies" / "results.json")]
    result = CliRunner().invoke(app, [*words, "--out", str(out)])
    assert (result.exit_code, out.read_text("utf-8").splitlines()[0]) == (0, "# divprune")
    assert "79.0±1.2" in out.read_text("utf-8")
    out.write_text("{}", encoding="utf-8")
    result = CliRunner().invoke(app, ["page", "divprune", "--results", str(out)])
    assert (result.exit_code, "no results of `scope bench accuracy" in result.stderr) == (3, True)


def test_explain_and_show_print_the_two_sentences() -> None:
    for name in ("visionzip", "visionzip@official"):
        explained = " ".join(CliRunner().invoke(app, ["explain", name]).stdout.replace("\n# ", " ").split())
        assert Method("visionzip", REGISTRY).item.about in explained
    shown = json.loads(CliRunner().invoke(app, ["show", "divprune", "--json"]).stdout)
    assert shown["about"].startswith("DivPrune rewards distance")
    assert (shown["formula"][:5], shown["code"]) == ("first", "https://github.com/vbdi/divprune")
