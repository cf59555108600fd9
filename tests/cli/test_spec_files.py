"""``scope explain``, ``scope schema`` and ``scope validate``."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from cli.conftest import Ran
from scope_core import default_registry
from scope_core.pruning.spec_reader import read_spec


def same(first: object, second: object) -> bool:
    registry = default_registry()
    return read_spec(first, registry).to_dict(registry) == read_spec(second, registry).to_dict(registry)


@pytest.mark.parametrize("name", default_registry().names("recipe"))
def test_what_explain_prints_reads_back_as_the_same_spec(scope_: Callable[..., Ran], tmp_path: Path, name: str) -> None:
    ran = scope_("explain", f"{name}@32")
    assert ran.code == 0
    path = tmp_path / "spec.yaml"
    path.write_text(ran.stdout)
    assert same(path, f"{name}@32")
    assert yaml.safe_load(ran.stdout)["budget"]["keep"] == 32


def test_explain_says_where_it_is_from(scope_: Callable[..., Ran]) -> None:
    lines = scope_("explain", "scope@64").stdout.splitlines()
    assert lines[0] == "# scope@64: greedy by coverage gain x saliency^alpha"
    assert lines[1].startswith("# SCOPE rewards tokens that are salient")
    assert lines[3] == "# SCOPE, NeurIPS 2025, arXiv 2510.24214"
    assert "`scope explain scope@64`" in lines[4]
    where = lines.index("saliency: {name: cls_attention, layer: -2, heads: sum}")
    assert lines[where - 1] == "# saliency: attention from the tower's CLS token to each patch"


def test_explain_says_what_was_changed_of_a_recipe(scope_: Callable[..., Ran], tmp_path: Path) -> None:
    spec = tmp_path / "pruner.yaml"
    spec.write_text("recipe: scope\nbudget: 64\ncombiner: {alpha: 0.5}\norder: picks\n")
    ran = scope_("explain", spec)
    lines = ran.stdout.splitlines()
    assert lines[0] == "# scope+alpha=0.5+order=picks@64: the recipe scope, changed: combiner, order"
    assert lines[1] == "# scope: greedy by coverage gain x saliency^alpha"
    assert lines[2].startswith("# SCOPE rewards tokens that are salient")
    assert lines[4] == "# SCOPE, NeurIPS 2025, arXiv 2510.24214"
    where = lines.index("combiner: {name: product, alpha: 0.5}")
    assert lines[where - 1] == "# changed; the recipe has {name: product, alpha: 1.0}"
    assert [line for line in lines if "changed" in line] == [lines[0], lines[where - 1], "# changed; not in the recipe"]
    assert scope_("validate", spec, "--json").json[0]["label"] == "scope+alpha=0.5+order=picks@64"
    assert "changed" not in scope_("explain", "scope@64").stdout


@pytest.mark.parametrize("name", default_registry().names("recipe"))
def test_every_line_of_explain_has_its_comment(scope_: Callable[..., Ran], name: str) -> None:
    lines = scope_("explain", f"{name}@32").stdout.splitlines()
    bare = [line for before, line in pairwise(lines) if not line.startswith("#") and line and not before]
    assert bare == []


def test_explain_a_file_to_a_file_and_as_json(scope_: Callable[..., Ran], tmp_path: Path) -> None:
    spec = tmp_path / "mine.yaml"
    spec.write_text("recipe: scope\nbudget: 25\ncombiner: {alpha: 0.5}\n")
    out = tmp_path / "long.yaml"
    ran = scope_("explain", spec, "--out", out)
    assert (ran.code, ran.stdout) == (0, "")
    assert same(out, spec)
    assert scope_("explain", spec, "--json").json["combiner"] == {"name": "product", "alpha": 0.5}


def test_explain_writes_to_no_missing_folder(scope_: Callable[..., Ran], tmp_path: Path) -> None:
    ran = scope_("explain", "scope", "--out", tmp_path / "nowhere" / "a.yaml")
    assert ran.code == 2
    assert "does not exist" in ran.stderr


def test_a_name_with_a_line_break_stays_in_its_comment(scope_: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "a\nat: evil #.yaml"
    path.write_text("recipe: scope\nbudget: 3\n")
    assert yaml.safe_load(scope_("explain", path).stdout)["at"] == "vision"


def test_schema(scope_: Callable[..., Ran], tmp_path: Path) -> None:
    schema = scope_("schema").json
    assert "facility_location" in schema["$defs"]["coverage"]["anyOf"][0]["enum"]
    out = tmp_path / "schema.json"
    assert scope_("schema", "--out", out).code == 0
    assert json.loads(out.read_text()) == schema


def test_validate_tells_every_file_apart(scope_: Callable[..., Ran], tmp_path: Path) -> None:
    good, bad, torn = tmp_path / "good.yaml", tmp_path / "bad.yaml", tmp_path / "torn.yaml"
    good.write_text("recipe: scope\nbudget: 64\n")
    bad.write_text("recipe: scope\nbudget: 64\ncombiner: {name: product, alpa: -1}\n")
    torn.write_text("recipe: [scope\n")
    ran = scope_("validate", good, bad, torn, "scope@8", "--json")
    assert ran.code == 1
    assert [row["ok"] for row in ran.json] == [True, False, False, True]
    assert ran.json[0]["label"] == "scope@64"
    assert "did you mean 'alpha'?" in ran.json[1]["error"]
    assert str(torn) in ran.json[2]["error"]
    text = scope_("validate", good, bad)
    assert text.code == 1
    assert f"ok {good} (scope@64)" in text.words
    assert "did you mean 'alpha'?" in text.words
    assert scope_("validate", good).code == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("recipe: scope\nbudget: {keep: true}\n", ["budget.keep: Input should be a whole number (given: True)"]),
        ("recipe: scope\ncombiner: {alpha: true}\n", ["combiner.alpha: Input should be a number (given: True)"]),
        ("recipe: scope\nat: vison\n", ["line 2, at: 'vison' is not an interception point (did you mean 'vision'?)"]),
        (
            "recipe: scpe\nbudget: {keep: true}\nsaliency: {name: cls_attenton}\nat: vison\nsimilarty: cosine\n",
            ["wrong in 5 places", "line 1: no recipe is called 'scpe' (did you mean 'scope'?)", "line 2, budget",
             "did you mean 'cls_attention'?", "did you mean 'vision'?", "did you mean 'similarity'?"],
        ),
        ("recipe: scpe\nbudget: {name: tokens, keep: true}\n", ["wrong in 2 places", "'scpe'", "budget.keep"]),
    ],
)  # fmt: skip
def test_validate_says_every_mistake_at_once(
    scope_: Callable[..., Ran], tmp_path: Path, text: str, said: list[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    ran = scope_("validate", path)
    assert ran.code == 1
    for words in said:
        assert words in ran.stdout


def test_validate_takes_a_percentage(scope_: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "quarter.yaml"
    path.write_text("recipe: scope\nbudget: 25%\n")
    assert f"ok {path} (scope@25%)" in scope_("validate", path).words


def test_commands_of_one_spec_take_it_as_an_option_too(scope_: Callable[..., Ran]) -> None:
    for command, more in (("explain", ()), ("plan", ("--tokens", "576"))):
        plain = scope_(command, "scope@64", *more).stdout
        assert scope_(command, "--spec", "scope@64", *more).stdout == plain
        assert "give one spec" in scope_(command, "scope", "--spec", "scope@64", *more).stderr
        missing = scope_(command, *more)
        assert (missing.code, "give a spec, e.g. scope@64" in missing.stderr) == (2, True)


def test_validate_names_near_files(scope_: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "pruner.yaml").write_text("recipe: scope\nbudget: 1\n")
    ran = scope_("validate", tmp_path / "prunr.yaml")
    assert ran.code == 1
    assert "did you mean 'pruner.yaml'?" in ran.words
