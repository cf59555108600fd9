"""Specs as visitors meet them."""

from __future__ import annotations

import ast
import shlex

import pytest
import yaml

import scope_core as scope
from scope_core.commands import read_spec, read_spec_text
from scope_demo.specs import changed, corrected, mistakes, pruner_of, python_of, shell_of, with_budget, yaml_of

ABOUT = {"subject": "scenes-llava", "answers": True, "image": "it's; $(rm) `x`.png", "question": 'What\'s "this"?'}


def test_the_yaml_of_every_recipe_reads_as_the_recipe_at_any_budget(registry: scope.Registry) -> None:
    for name in registry.names("recipe"):
        text = yaml_of(name, 64, registry)
        assert read_spec_text(text, registry) == read_spec(name, registry, budget=64), name
        moved = with_budget(f"# mine\n{text}", 100)
        assert moved.startswith("# mine\n")
        assert pruner_of(moved, 100, registry).spec == read_spec(name, registry, budget=100), name


def test_the_budget_is_put_in_whatever_stood_there() -> None:
    assert (
        with_budget("budget:\n  name: tokens\n  keep: 3\nat: vision\n", 9)
        == "budget:\n  name: tokens\n  keep: 9\nat: vision\n"
    )
    assert with_budget("budget: {keep: 3, per: tile} # mine", 9) == "budget: {keep: 9, per: tile} # mine"
    assert with_budget("budget: 0.25\nat: vision", 9) == "budget: 9\nat: vision"
    assert with_budget("at: vision", 9) == "at: vision\nbudget: 9\n"
    assert with_budget("", 9) == "budget: 9\n"


@pytest.mark.parametrize(
    ("text", "lines", "right"),
    [
        ("recipe: scop\nbudget: 64", [1], "recipe: scope\nbudget: 64"),
        ("recipe: scope\nbudjet: 64", [2], "recipe: scope\nbudget: 64"),
        ("recipe: scope\nbudget: 9\ncombiner: {alpah: 2}", [3], "recipe: scope\nbudget: 9\ncombiner: {alpha: 2}"),
        ("recipe: scope\nbudget: 9\ncoverage: log_dit", [3], "recipe: scope\nbudget: 9\ncoverage: log_det"),
        ("recipe: scope\nbudget: 9\nat: vison", [3], "recipe: scope\nbudget: 9\nat: vision"),
        ("recipe: scope\nbudget: 9\nsaliency:\n  name: cls_attention\n  heads: foo", [5], None),
        ("recipe: scope\nbudget: 9\norder: rastr", [3], "recipe: scope\nbudget: 9\norder: raster"),
        ("recipe: scop\nbudget: 9\ncoverage: log_dit", [1, 3], "recipe: scope\nbudget: 9\ncoverage: log_det"),
        ("recipe: [\nbudget: 9", [2], None),
        ("recipe: scope\nrecipe: scope", [2], None),
        ("[1, 2]", [None], None),
        ("", [None], None),
        ("a: &a [*a, *a]", [None], None),
        ("- " * 3000, [1], None),
    ],
)
def test_mistakes_have_their_lines_and_suggestions(
    registry: scope.Registry, text: str, lines: list[int | None], right: str | None
) -> None:
    with pytest.raises(scope.SpecError) as caught:
        read_spec_text(text, registry)
    found = mistakes(str(caught.value))
    assert sorted(str(one.line) for one in found) == sorted(map(str, lines))
    assert all(one.text and len(one.text) < 310 for one in found)
    assert corrected(text, found) == (text if right is None else right)


def test_an_alias_bomb_is_refused_at_once(registry: scope.Registry) -> None:
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    with pytest.raises(scope.SpecError):
        read_spec_text(bomb, registry)
    with pytest.raises(scope.SpecError, match="larger than"):
        read_spec_text("a: " + "x" * 2_000_000, registry)


def test_an_option_is_changed_in_place(registry: scope.Registry) -> None:
    text = yaml_of("scope", 64, registry)
    spec = read_spec_text(changed(text, ("combiner", "alpha"), 2.5, registry), registry)
    assert spec == read_spec({"recipe": "scope", "budget": 64, "combiner": {"alpha": 2.5}}, registry)
    other = read_spec_text(changed(text, ("coverage",), "log_det", registry), registry)
    assert other == read_spec({"recipe": "scope", "budget": 64, "coverage": "log_det"}, registry)
    with pytest.raises(scope.SpecError, match="alpha"):
        read_spec_text(changed(text, ("combiner", "alpha"), -1, registry), registry)


@pytest.mark.parametrize(
    "text",
    [
        "recipe: scope\nbudget: 64",
        "recipe: visionzip\nbudget: 32",
        "recipe: scope\nbudget: 64\ncombiner: {alpha: 2}",
    ],
)
def test_code_to_copy_means_the_same_spec(registry: scope.Registry, text: str) -> None:
    spec = read_spec_text(text, registry)
    python = python_of(spec, registry, **ABOUT)  # type: ignore[arg-type]
    calls = [node for node in ast.walk(ast.parse(python)) if isinstance(node, ast.Call)]
    (given,) = (one.args[0] for one in calls if ast.unparse(one.func) == "scope.Pruner")
    assert read_spec(ast.literal_eval(given), registry) == spec
    words = [ast.literal_eval(one) for one in ast.walk(ast.parse(python)) if isinstance(one, ast.Constant)]
    assert {ABOUT["image"], ABOUT["question"], ABOUT["subject"]} <= set(words)

    shell = shell_of(spec, registry, **ABOUT)  # type: ignore[arg-type]
    file, _, line = shell.rpartition("END\n")
    command = shlex.split(line)
    assert command[:5] == ["scope", "run", ABOUT["image"], "-q", ABOUT["question"]]
    short = command[command.index("--spec") + 1]
    table = yaml.safe_load(file.removeprefix("cat > pruner.yaml <<'END'\n")) if file else short
    assert bool(file) == (short == "pruner.yaml")
    assert read_spec(table, registry) == spec
