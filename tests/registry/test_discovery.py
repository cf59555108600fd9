"""Discovery: fake installed distributions, good and broken. Nothing a plugin does may harm the others."""

from __future__ import annotations

import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import scope_core as scope
from scope_core import PluginConflictError, PluginError, PluginWarning, UnknownNameError, discover

GOOD = """
    from typing import Literal
    import scope_core as scope

    class {cls}Spec(scope.parts.ComponentSpec):
        name: Literal["{name}"] = "{name}"

    class {cls}(scope.parts.SaliencySource):
        def score(self, tokens):
            return tokens.features.abs().sum(-1)

    @scope.parts.hookimpl
    def scope_saliency_sources():
        yield scope.parts.Entry({cls}Spec, {cls}, "a stranger's source")
"""


class Shelf:
    """A folder on sys.path where fake distributions are installed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def install(
        self, distribution: str, points: dict[str, str], *, version: str = "1.0", folder: str = "", **modules: str
    ) -> None:
        root = self.path / folder if folder else self.path
        info = root / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[scope_core]", *lines, ""]))
        for name, code in modules.items():
            (root / f"{name}.py").write_text(textwrap.dedent(code))

    def good(self, distribution: str, module: str, name: str) -> None:
        self.install(distribution, {module: module}, **{module: GOOD.format(cls="Fake", name=name)})


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    for variable in ("SCOPE_DISABLE_PLUGINS", "SCOPE_STRICT_PLUGINS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    yield Shelf(tmp_path)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def broken(shelf: Shelf, code: str, name: str = "acme_broken") -> tuple[scope.Registry, str]:
    """The registry beside one broken plugin, and the one warning it caused."""
    shelf.install("acme-broken", {"depth": name}, **{name: code})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = discover()
    mine = [str(warning.message) for warning in caught if issubclass(warning.category, PluginWarning)]
    assert len(mine) == 1
    return found, mine[0]


class TestGoodPlugins:
    def test_a_strangers_part_works_in_a_spec(self, shelf: Shelf) -> None:
        shelf.good("acme-pruning", "acme_good", "acme.sum")
        registry = discover()
        assert "acme.sum" in registry.names("saliency")
        assert str(registry.get("saliency", "acme.sum").origin) == "acme-pruning 1.0"
        spec = {"saliency": "acme.sum", "coverage": "modular", "budget": 2}
        picks = scope.select(torch.eye(4) * torch.tensor([1.0, 4, 3, 2]), spec=spec, registry=registry).picks
        assert picks.tolist() == [[1, 2]]

    def test_order_does_not_depend_on_install_order(self, shelf: Shelf) -> None:
        for distribution in ("zeta", "alpha", "midway"):
            shelf.good(distribution, f"acme_{distribution}", f"{distribution}.sum")
        origins = [record.origin.distribution for record in discover().records("saliency")]
        assert [o for o in origins if o != "scope-core"] == ["alpha", "midway", "zeta"]

    def test_a_later_copy_of_a_distribution_is_shadowed(self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
        stale = {"acme_stale": GOOD.format(cls="Old", name="acme.old")}
        shelf.install("Acme_Pruning", {"old": "acme_stale"}, version="0.9", folder="stale", **stale)
        shelf.good("acme-pruning", "acme_good", "acme.sum")
        monkeypatch.syspath_prepend(shelf.path / "stale")
        monkeypatch.syspath_prepend(shelf.path)
        registry = discover()
        assert registry.has("saliency", "acme.sum")
        assert not registry.has("saliency", "acme.old")

    def test_two_entry_points_of_one_distribution(self, shelf: Shelf) -> None:
        modules = {f"acme_{n}": GOOD.format(cls="Fake", name=f"acme.{n}") for n in ("one", "two")}
        shelf.install("acme", {"one": "acme_one", "two": "acme_two"}, **modules)
        assert {"acme.one", "acme.two"} <= set(discover().names("saliency"))


CASES = {
    "raises on import": ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
    "misses a dependency": ("import acme_nowhere", "ModuleNotFoundError: No module named 'acme_nowhere'"),
    "does not parse": ("def :", "SyntaxError"),
    "exits": ("import sys\nsys.exit('bye')", "SystemExit: bye"),
    "returns the wrong type": (
        "import scope_core.parts as s\n@s.hookimpl\ndef scope_saliency_sources():\n    return [1]",
        "scope_saliency_sources yielded 1, which is not a scope_core.parts.Entry",
    ),
    "returns nothing": (
        "import scope_core.parts as s\n@s.hookimpl\ndef scope_saliency_sources():\n    []",
        "scope_saliency_sources returned None; return or yield Entry objects",
    ),
    "raises late": (GOOD.format(cls="Late", name="acme.late") + "        {}['late']\n", "KeyError: 'late'"),
    "misspells a hook": (
        "import scope_core.parts as s\n@s.hookimpl\ndef scope_saliency_source():\n    return []",
        "there is no hook called 'scope_saliency_source' (did you mean 'scope_saliency_sources'?)",
    ),
    "forgets the mark": (
        "def scope_saliency_sources():\n    return []",
        "is not marked with @scope_core.parts.hookimpl",
    ),
    "takes a bare name": (
        GOOD.format(cls="Bare", name="depth"),
        "saliency 'depth': names without a dot are reserved for scope-core's own parts; name it 'acme_broken.depth'",
    ),
    "is a default": (
        GOOD.format(cls="Mine", name="acme.mine").replace('source")', 'source", default=True)'),
        "only scope-core's own parts may be defaults",
    ),
    "was built for an older contract": (
        'scope_contract = "0.9"\n' + textwrap.dedent(GOOD.format(cls="Old", name="acme.old")),
        "it was built for contract 0.9, but this scope-core has 1.1; a newer acme-broken is needed "
        "(pip install --upgrade acme-broken)",
    ),
    "was built for a newer contract": (
        'scope_contract = "1.7"\n' + textwrap.dedent(GOOD.format(cls="New", name="acme.new")),
        "it was built for contract 1.7, newer than this scope-core's 1.1 (pip install --upgrade scope-core)",
    ),
    "says its contract in a strange way": (
        "scope_contract = 1\n" + textwrap.dedent(GOOD.format(cls="Odd", name="acme.odd")),
        "scope_contract is 1; write the version as text, e.g. scope_contract = '1.1'",
    ),
    "yields a spec without a name of its own": (
        GOOD.format(cls="Plain", name="acme.plain").replace('name: Literal["acme.plain"] = "acme.plain"', "pass"),
        "must declare its name as",
    ),
    "has a late generator of a bad name": (GOOD.format(cls="Bad", name="acme.Bad"), "may hold only a-z"),
}


class TestBrokenPlugins:
    """One warning each, everything else works, and the failure is quoted when its part is asked for."""

    @pytest.mark.parametrize("case", CASES)
    def test_harms_nothing_and_is_named(self, case: str, shelf: Shelf, registry: scope.Registry) -> None:
        code, error = CASES[case]
        shelf.good("beta", "beta_good", "beta.sum")
        found, warning = broken(shelf, textwrap.dedent(code))
        assert "plugin 'depth' of acme-broken 1.0 (acme_broken) failed to load: " in warning
        assert error in warning
        assert "SCOPE_DISABLE_PLUGINS=acme-broken" in warning
        assert found.names("saliency") == sorted([*registry.names("saliency"), "beta.sum"])
        with pytest.raises(UnknownNameError) as caught:
            found.get("saliency", "acme.depth")
        assert f"Perhaps it belongs to a broken plugin: {found.failures[0]}" in str(caught.value)

    def test_an_object_whose_property_raises(self, shelf: Shelf) -> None:
        code = (
            "class Plugin:\n    @property\n    def scope_zoo(self):\n        raise OSError('disk')\nplugin = Plugin()\n"
        )
        shelf.install("acme", {"object": "acme_object:plugin"}, acme_object=code)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PluginWarning)  # releases of pluggy differ in whether they look at it
            assert discover().has("recipe", "scope")

    def test_strict_mode_turns_it_into_an_error(self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
        shelf.install("acme", {"depth": "acme_raises"}, acme_raises="raise OSError('disk')")
        monkeypatch.setenv("SCOPE_STRICT_PLUGINS", "1")
        with pytest.raises(
            PluginError, match=r"plugin 'depth' of acme 1.0 \(acme_raises\) failed to load: OSError: disk"
        ):
            discover()
        monkeypatch.setenv("SCOPE_STRICT_PLUGINS", "0")
        with pytest.warns(PluginWarning):
            discover()

    def test_one_module_under_two_names_is_named_and_its_parts_stay(self, shelf: Shelf) -> None:
        shelf.install(
            "acme", {"one": "acme_twice", "two": "acme_twice"}, acme_twice=GOOD.format(cls="A", name="acme.a")
        )
        with pytest.warns(PluginWarning, match=r"plugin 'two' of acme 1\.0.*already registered"):
            registry = discover()
        assert registry.get("saliency", "acme.a").origin.entry_point == "one"

    @pytest.mark.parametrize("metadata", [None, "Metadata-Version: 2.1\n"])
    def test_a_distribution_without_a_name(self, metadata: str | None, shelf: Shelf) -> None:
        shelf.install("acme", {"depth": "acme_good"}, acme_good=GOOD.format(cls="A", name="acme.a"))
        file = shelf.path / "acme-1.0.dist-info" / "METADATA"
        file.unlink() if metadata is None else file.write_text(metadata)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert discover().has("recipe", "scope")


class TestConflicts:
    def test_two_distributions_one_name(self, shelf: Shelf) -> None:
        shelf.good("acme", "acme_good", "acme.sum")
        shelf.good("beta", "beta_good", "acme.sum")
        with pytest.raises(PluginConflictError, match=r"acme 1\.0.*beta 1\.0"):
            discover().get("saliency", "acme.sum")
        chosen = discover(prefer={"acme.sum": "beta"})
        assert chosen.get("saliency", "acme.sum").origin.distribution == "beta"
        with pytest.raises(scope.SpecError, match=r"acme 1\.0.*beta 1\.0"):
            scope.Pruner({"recipe": "scope", "saliency": "acme.sum"}, registry=discover())


class TestDisabling:
    @pytest.mark.parametrize("value", ["acme-pruning", "Acme_Pruning", "acme_good", " , acme-pruning "])
    def test_by_distribution_or_entry_point(self, value: str, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
        shelf.good("acme-pruning", "acme_good", "acme.sum")
        monkeypatch.setenv("SCOPE_DISABLE_PLUGINS", value)
        registry = discover()
        with pytest.raises(UnknownNameError, match=r"Disabled by SCOPE_DISABLE_PLUGINS: acme_good \(acme-pruning\)"):
            registry.get("saliency", "acme.sum")
        assert "acme_good" not in sys.modules

    def test_a_name_that_fits_nothing_is_a_warning(self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
        shelf.good("acme-pruning", "acme_good", "acme.sum")
        monkeypatch.setenv("SCOPE_DISABLE_PLUGINS", "acme-prunning")
        with pytest.warns(scope.PluginWarning, match=r"has names that are not installed: acme.prunning.*did you mean"):
            registry = discover()
        assert registry.has("saliency", "acme.sum")

    def test_a_broken_plugin_is_silenced(self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
        shelf.install("acme", {"depth": "acme_raises"}, acme_raises="raise OSError('disk')")
        monkeypatch.setenv("SCOPE_DISABLE_PLUGINS", "acme")
        assert discover().failures == ()


class TestContract:
    """A plugin may say which version of the contract it was built for."""

    def test_the_same_major_version_is_fine(self, shelf: Shelf) -> None:
        for number, version in enumerate(("1", "1.0")):
            code = f'scope_contract = "{version}"\n' + textwrap.dedent(GOOD.format(cls="Fake", name=f"acme.c{number}"))
            shelf.install(f"acme-{number}", {"c": f"acme_c{number}"}, **{f"acme_c{number}": code})
        assert {"acme.c0", "acme.c1"} <= set(discover().names("saliency"))

    def test_the_hooks_of_an_older_one_are_not_called(self, shelf: Shelf) -> None:
        code = """
            import scope_core as scope
            scope_contract = "0"
            called = []
            @scope.parts.hookimpl
            def scope_saliency_sources():
                called.append(1)
                return []
            @scope.parts.hookimpl
            def scope_gone_since():
                return []
        """
        found, warning = broken(shelf, code)
        assert "built for contract 0, but this scope-core has 1.1" in warning
        assert sys.modules["acme_broken"].called == []
        assert found.failures[0].fix == "pip install --upgrade acme-broken"

    def test_a_module_of_this_process_is_checked_too(self, registry: scope.Registry) -> None:
        from fakes import module

        made = module()
        made.scope_contract = "2"
        with pytest.raises(PluginError, match=r"newer than this scope-core's 1.1"):
            registry.with_module(made)


class TestFixes:
    def test_a_missing_dependency_is_named_with_the_command(self, shelf: Shelf) -> None:
        found, _ = broken(shelf, "import acme_nowhere.deep")
        assert found.failures[0].fix.startswith("pip install acme_nowhere ")

    def test_a_module_of_its_own_that_is_missing_is_no_dependency(self, shelf: Shelf) -> None:
        found, _ = broken(shelf, "import acme_broken.inner")
        assert found.failures[0].fix == ""

    def test_two_entry_points_of_one_name(self, shelf: Shelf) -> None:
        """Two distributions may call their entry points alike; both load, each with its own origin."""
        for vendor in ("acme", "beta"):
            shelf.install(vendor, {"depth": f"{vendor}_x"}, **{f"{vendor}_x": GOOD.format(cls="F", name=f"{vendor}.s")})
        registry = discover()
        origins = {registry.get("saliency", f"{vendor}.s").origin for vendor in ("acme", "beta")}
        assert {str(origin) for origin in origins} == {"acme 1.0", "beta 1.0"}
        assert {origin.entry_point for origin in origins} == {"depth"}

    def test_a_lazy_target_whose_package_is_missing_says_so_when_it_is_used(self, shelf: Shelf) -> None:
        code = GOOD.format(cls="Lazy", name="acme.lazy").replace("LazySpec, Lazy, ", 'LazySpec, "acme_gone:Lazy", ')
        code = code.replace('source")', 'source", requires=("acme-gone",))')
        shelf.install("acme", {"lazy": "acme_lazy"}, acme_lazy=code)
        registry = discover()
        with pytest.raises(scope.MissingDependencyError, match=r"saliency 'acme.lazy'.*Try: pip install acme-gone"):
            _ = registry.get("saliency", "acme.lazy").target


class TestObservers:
    CODE = """
        import scope_core as scope
        seen = []
        @scope.parts.hookimpl
        def scope_selected(receipt):
            seen.append(receipt)
            if receipt.kept == 3:
                raise ZeroDivisionError("observer")
    """

    def test_hears_every_call_once_and_cannot_break_it(self, shelf: Shelf) -> None:
        shelf.install("acme", {"watch": "acme_watch"}, acme_watch=self.CODE)
        registry = discover()
        spec = {"recipe": "coverage_only", "budget": 2}
        scope.select(torch.eye(4), spec=spec, registry=registry)
        (receipt,) = sys.modules["acme_watch"].seen
        assert (receipt.tokens, receipt.kept, receipt.spec) == (4, 2, "coverage_only@2")
        with pytest.warns(
            PluginWarning, match="observer scope_selected of plugin 'acme:watch' raised ZeroDivisionError"
        ):
            selection = scope.select(torch.eye(4), spec={**spec, "budget": 3}, registry=registry)
        assert selection.counts == (3,)

    def test_still_hears_after_a_module_was_added(self, shelf: Shelf) -> None:
        from fakes import module

        shelf.install("acme", {"watch": "acme_watch"}, acme_watch=self.CODE)
        registry = discover().with_module(module())
        scope.select(torch.eye(4), spec="coverage_only@2", registry=registry)
        assert len(sys.modules["acme_watch"].seen) == 1
