"""``scope doctor``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import Ran
from scope_core.cli import doctor, packages


def test_all_is_well(scope_: Callable[..., Ran], registry) -> None:
    ran = scope_("doctor", "--json")
    facts = ran.json
    assert (ran.code, facts["ok"], facts["problems"]) == (0, True, [])
    assert facts["recipes_checked"] == len(registry.names("recipe"))
    packages = {row["package"]: row for row in facts["packages"]}
    assert {"python", "scope-core", "torch", "transformers", "timm", "pydantic", "pluggy"} <= set(packages)
    assert packages["torch"]["state"] == "ok"
    given = {row["entry_point"]: row["gives"] for row in facts["plugins"]}
    assert given["recipes"] == {"recipe": len(registry.names("recipe"))}
    words = scope_("doctor").words
    assert "All is well" in words


def test_a_broken_plugin_is_named_with_its_error_and_the_fix(
    scope_: Callable[..., Ran], broken_distribution: None
) -> None:
    ran = scope_("doctor", "--json")
    assert ran.code == 1
    (problem,) = ran.json["problems"]
    assert "plugin 'acme' of acme-pruning 1.2 (acme_broken) failed to load: ImportError: no luck" in problem["what"]
    assert "SCOPE_DISABLE_PLUGINS=acme-pruning" in problem["fix"]
    (row,) = (row for row in ran.json["plugins"] if row["entry_point"] == "acme")
    assert (row["from"], row["state"], row["gives"]) == ("acme-pruning 1.2", "failed", {})
    text = scope_("doctor")
    assert text.code == 1
    assert "no luck" in text.words
    assert "fix:" in text.words
    assert text.stderr == ""  # said once, where it is explained


def test_strict_mode_is_diagnosed_too(
    scope_: Callable[..., Ran], broken_distribution: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert scope_("list", "recipe").code == 0
    monkeypatch.setenv("SCOPE_STRICT_PLUGINS", "1")
    assert scope_("list", "recipe").code == 3
    ran = scope_("doctor", "--json")
    assert ran.code == 1
    assert "no luck" in ran.json["problems"][0]["what"]


def test_disabled_plugins(
    scope_: Callable[..., Ran], broken_distribution: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCOPE_DISABLE_PLUGINS", "acme-pruning")
    ran = scope_("doctor", "--json")
    assert ran.code == 0
    assert ran.json["disabled"] == ["acme (acme-pruning)"]
    assert next(row for row in ran.json["plugins"] if row["entry_point"] == "acme")["state"] == "disabled"
    assert "disabled by SCOPE_DISABLE_PLUGINS: acme (acme-pruning)" in scope_("doctor").words


def test_recipes_and_targets_are_tried(scope_: Callable[..., Ran], tmp_path: Path) -> None:
    plugin = tmp_path / "shaky.py"
    plugin.write_text(
        "import scope_core\n"
        "from typing import Literal\n"
        "class Spec(scope_core.ComponentSpec):\n"
        "    name: Literal['shaky'] = 'shaky'\n"
        "class Needy(scope_core.ComponentSpec):\n"
        "    name: Literal['needy'] = 'needy'\n"
        "@scope_core.hookimpl\n"
        "def scope_recipes():\n"
        "    yield scope_core.Recipe('torn', {'saliency': 'no_such_part', 'budget': 3}, 'does not validate')\n"
        "@scope_core.hookimpl\n"
        "def scope_saliency_sources():\n"
        "    yield scope_core.Entry(Spec, 'scope_core:NoSuchClass', 'points nowhere')\n"
        "    yield scope_core.Entry(Needy, 'no_such_module:Part', 'needs a package', requires=('acme-extra',))\n"
    )
    ran = scope_("doctor", "--json", "--plugin", plugin)
    assert ran.code == 1
    what = [problem["what"] for problem in ran.json["problems"]]
    assert any("recipe 'torn' (shaky.py)" in text and "no_such_part" in text for text in what)
    assert any("saliency 'shaky' (shaky.py)" in text for text in what)
    (needy,) = (problem for problem in ran.json["problems"] if "saliency 'needy'" in problem["what"])
    assert "cannot be used" in needy["what"]
    assert needy["fix"] == "pip install acme-extra"
    assert len(what) == 3
    words = scope_("list", "saliency", "--plugin", plugin).words
    assert "cannot be used yet: pip install acme-extra" in words
    rows = {row["name"]: row for row in scope_("list", "saliency", "--json", "--plugin", plugin).json}
    assert (rows["needy"]["missing"], rows["feature_norm"]["missing"]) == (["acme-extra"], [])


def test_a_plugin_for_another_contract_is_shown_with_the_fix(
    scope_: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "acme_old-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-old\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text("[scope_core]\nacme = acme_old\n")
    (tmp_path / "acme_old.py").write_text("scope_contract = '0.9'\n")
    monkeypatch.syspath_prepend(tmp_path)
    ran = scope_("doctor", "--json")
    assert ran.code == 1
    (problem,) = ran.json["problems"]
    assert "plugin 'acme' of acme-old 0.3 (acme_old)" in problem["what"]
    assert "it was built for contract 0.9, and this scope-core has 1.0" in problem["what"]
    assert problem["fix"].startswith("pip install --upgrade acme-old, or ")
    monkeypatch.delitem(sys.modules, "acme_old")


def test_old_and_missing_packages(scope_: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"pluggy": "0.9", "timm": None}
    have = doctor.installed
    monkeypatch.setattr(doctor, "installed", lambda package: versions.get(package, have(package)))
    ran = scope_("doctor", "--json")
    assert ran.code == 1
    assert [problem["what"] for problem in ran.json["problems"]] == ["pluggy: 0.9 is older than 1.5"]
    timm = next(row for row in ran.json["packages"] if row["package"] == "timm")
    assert (timm["state"], timm["fix"]) == ("missing", "pip install 'timm>=1.0'")
    assert "pip install 'timm>=1.0'" in scope_("doctor").words


def test_one_line_for_each_missing_package(
    scope_: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, registry
) -> None:
    have = packages.installed
    gone = ("torchvision", "num2words")
    monkeypatch.setattr(packages, "installed", lambda package: None if package in gone else have(package))
    ran = scope_("doctor", "--json")
    assert (ran.code, len(ran.json["notes"])) == (0, 2)
    for package, note in zip(gone, ran.json["notes"], strict=True):
        names = [r.name for r in registry.records("zoo") if package in r.item.requires]
        assert note == f"to use {', '.join(names)}: pip install '{package}'"
    assert ran.json["notes"][0].count(", ") > 4
