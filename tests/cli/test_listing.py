"""``scope list`` and ``scope show``."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable
from functools import cache

import pytest
from typer.testing import CliRunner

from cli.conftest import Ran
from scope_core.cli import app
from scope_core.pruning.spec_reader import read_spec
from scope_core.registry.kinds import KINDS


def test_json_holds_everything_with_its_origin(scope_: Callable[..., Ran], registry) -> None:
    rows = scope_("list", "--json").json
    assert {(row["kind"], row["name"]) for row in rows} == {
        (kind, name) for kind in registry.kinds() for name in registry.names(kind)
    }
    origin = registry.get("recipe", "scope").origin
    (row,) = (row for row in rows if (row["kind"], row["name"]) == ("recipe", "scope"))
    assert row["origin"]["distribution"] == origin.distribution
    assert row["origin"]["version"] == origin.version
    assert "2510.24214" in row["paper"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_fits_and_cuts_nothing(registry, width: int) -> None:
    result = CliRunner(env={"COLUMNS": str(width)}).invoke(app, ["list"])
    assert max(map(len, result.stdout.splitlines())) <= max(width, 66)  # a kind's heading is not folded
    assert "…" not in result.stdout
    words = " ".join(result.stdout.split())
    for kind in KINDS:
        for record in registry.records(kind.name):
            assert record.name in words
    assert "scope-core" in words


def test_one_kind(scope_: Callable[..., Ran], registry) -> None:
    ran = scope_("list", "combiner")
    assert all(name in ran.stdout for name in registry.names("combiner"))
    assert "facility_location" not in ran.stdout


def test_names_by_pattern(scope_: Callable[..., Ran], registry) -> None:
    def names(*args: str) -> list[str]:
        return [row["name"] for row in scope_("list", "recipe", *args, "--json").json]

    assert names("vis*") == registry.names("recipe", "vis*") != []
    assert names("vis*", "scope", "--exclude", "*@*") == ["scope", "visionzip", "vispruner"]
    table = scope_("list", "recipe", "visionz*").stdout
    assert ("visionzip" in table, "vispruner" in table) == (True, False)
    assert "no items are left of kind: recipe" in scope_("list", "recipe", "dart", "--exclude", "dart*").stderr


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        (["recipe", "viz*"], "no recipe matches 'viz*' (did you mean 'visionzip'?)"),
        (["recipe", "--exclude", "viz*"], "no recipe matches 'viz*' (did you mean 'visionzip'?)"),
        (["saliency", "text"], "no saliency source matches 'text'"),
        (["vis*"], "put the kind first: scope list recipe 'vis*'"),
    ],
)
def test_a_pattern_that_fits_no_name_is_refused(scope_: Callable[..., Ran], args: list[str], wanted: str) -> None:
    ran = scope_("list", *args)
    assert ran.code == 3
    assert wanted in " ".join(ran.stderr.split())


def test_two_distributions_with_one_name_are_mentioned(scope_: Callable[..., Ran], tmp_path, monkeypatch) -> None:
    site = tmp_path / "site"
    for number in (1, 2):
        info = site / f"acme{number}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: acme{number}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[scope_core]\nacme{number} = acme_{number}\n")
        (site / f"acme_{number}.py").write_text(
            "import scope_core\n@scope_core.parts.hookimpl\ndef scope_recipes():\n"
            "    return [scope_core.parts.Recipe('acme.mine', {}, 'twice')]\n"
        )
    monkeypatch.syspath_prepend(site)
    ran = scope_("list", "recipe")
    assert "recipe 'acme.mine' is given by 2 distributions" in ran.stderr
    asked = scope_("show", "acme.mine")
    assert asked.code == 3
    assert "acme1 1.0" in asked.stderr
    assert "acme2 1.0" in asked.stderr
    assert "is given by acme1 1.0 and by acme2 1.0" in scope_("doctor", "--quick").words


def test_show_a_part(scope_: Callable[..., Ran]) -> None:
    facts = scope_("show", "cls_attention", "--json").json
    assert facts["kind"] == "saliency"
    assert facts["class"] == "scope_plugins.saliency.cls_attention:ClsAttention"
    assert facts["file"].endswith("saliency/cls_attention.py")
    assert facts["needs"] == ["vision.cls_attention[-2]"]
    assert {"scope", "top_k_attention"} <= set(facts["recipes"])
    assert "divprune" not in facts["recipes"]
    heads = next(option for option in facts["options"] if option["name"] == "heads")
    assert heads == {
        "name": "heads", "type": "sum | mean | max", "default": "sum", "required": False,
        "description": "The combination of heads.",
    }  # fmt: skip
    text = scope_("show", "cls_attention").words
    for wanted in ("2510.24214", "scope-core", "vision.cls_attention[-2]", "sum | mean | max", "top_k_attention"):
        assert wanted in text


def test_show_options_of_all_sorts(scope_: Callable[..., Ran]) -> None:
    tokens = {option["name"]: option for option in scope_("show", "budget:tokens", "--json").json["options"]}
    assert (tokens["keep"]["type"], tokens["keep"]["required"]) == ("integer >= 0", True)
    composite = {option["name"]: option for option in scope_("show", "composite", "--json").json["options"]}
    assert composite["similarity"]["type"] == "similarity part"
    assert (composite["similarity"]["default"], composite["similarity"]["required"]) == ("cosine", False)
    chain = {option["name"]: option for option in scope_("show", "chain", "--json").json["options"]}
    assert chain["stages"]["type"] == "list of selector parts"
    assert chain["shares"]["type"] == "list of number >= 0"
    assert "required" in scope_("show", "budget:tokens").stdout


def test_show_a_recipe(scope_: Callable[..., Ran]) -> None:
    facts = scope_("show", "recipe:scope", "--json").json
    assert facts["parts"]["coverage"] == "facility_location"
    assert facts["parts"]["combiner"] == {"name": "product", "alpha": 1.0}
    assert facts["needs"] == ["vision.cls_attention[-2]"]
    assert "{name: product, alpha: 1.0}" in scope_("show", "recipe:scope").stdout


def test_show_a_zoo_entry(scope_: Callable[..., Ran]) -> None:
    facts = scope_("show", "dinov2-small", "--json").json
    assert (facts["type"], facts["licence"], facts["recipe"]) == ("tower", "MIT", "scope@64")
    assert "22M" in scope_("show", "dinov2-small").stdout


def test_every_name_can_be_shown(registry, monkeypatch: pytest.MonkeyPatch) -> None:
    show = importlib.import_module("scope_core.cli.commands.show")
    read = cache(lambda name: read_spec({"recipe": name}, registry))  # every part asks every recipe
    monkeypatch.setattr(show, "read_spec", lambda table, _: read(table["recipe"]))
    for kind in registry.kinds():
        for name in registry.names(kind):
            facts = show.facts_of(show.find(f"{kind}:{name}", registry), registry)
            assert json.loads(json.dumps(facts))["name"] == name
            show._print(facts)


def test_a_name_of_several_kinds_has_to_be_qualified(scope_: Callable[..., Ran]) -> None:
    ran = scope_("show", "random")
    assert ran.code == 2
    assert "`scope show saliency:random`" in ran.stderr
    assert "`scope show recipe:random`" in ran.stderr


def test_a_part_from_a_file(fake: Callable[..., Ran]) -> None:
    """Also where another module has loaded the file."""
    importlib.import_module("cli.fake_zoo")
    inspect.getmodule(inspect.currentframe())  # so that `inspect` knows the file under that name
    facts = fake("show", "acme.half", "--json").json
    assert facts["options"][0]["description"] == "Which half, [0] or [1]."
    assert facts["from"] == "fake_zoo.py"
    assert facts["recipes"] == []
