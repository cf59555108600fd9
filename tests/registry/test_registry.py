"""The registry: names, targets imported on first use, conflicts, and plugins added by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from fakes import entry, hook_function, module, spec_named, with_part

import scope_core as scope
from scope_core import MissingDependencyError, PluginConflictError, PluginError, Registry, UnknownNameError
from scope_core.errors import choices, listed
from scope_core.parts import Entry, Recipe, SaliencySource, hookimpl
from scope_core.registry.kinds import KINDS, kind_named
from scope_core.registry.records import Failure, Origin, Record


def record(name: str, distribution: str, kind: str = "saliency") -> Record:
    item = entry(SaliencySource, name, score=lambda self, tokens: None)
    return Record(kind_named(kind), item, Origin(distribution, "1.0", "point", "acme"))


class TestNames:
    def test_every_kind_of_the_table_is_listed(self, registry: scope.Registry) -> None:
        assert registry.kinds() == [kind.name for kind in KINDS]
        for kind in registry.kinds():
            assert registry.names(kind) == sorted(registry.names(kind))
            assert [found.name for found in registry.records(kind)] == registry.names(kind)

    def test_names_by_pattern(self, registry: scope.Registry) -> None:
        every = registry.names("recipe")
        assert registry.names("recipe", "scope*") == [name for name in every if name.startswith("scope")] != []
        assert registry.names("recipe", ["vis*", "dart*"], exclude="*@*") == ["dart", "visionzip", "vispruner"]
        assert registry.names("recipe", exclude=["*"]) == registry.names("recipe", "nothing*") == []

    def test_unknown_kind(self, registry: scope.Registry) -> None:
        with pytest.raises(UnknownNameError, match=r"no kind of part called 'salience' \(did you mean 'saliency'\?\)"):
            registry.names("salience")

    def test_unknown_name_quotes_broken_and_disabled_plugins(self) -> None:
        failure = Failure(Origin("acme", "1.2", "depth", "acme_depth"), "ImportError: no zlib")
        registry = Registry([record("acme.a", "acme")], failures=[failure], disabled=["other (beta)"])
        with pytest.raises(UnknownNameError) as caught:
            registry.get("saliency", "acme.depth")
        for text in (
            "no saliency source is called 'acme.depth'",
            "Installed: acme.a",
            "plugin 'depth' of acme 1.2 (acme_depth) failed to load: ImportError: no zlib",
            "scope doctor",
            "Disabled by SCOPE_DISABLE_PLUGINS: other (beta)",
        ):
            assert text in str(caught.value)

    @pytest.mark.parametrize(
        ("kind", "name", "hinted"),
        [
            ("saliency", "acme.peak", True),
            ("saliency", "peak", False),
            ("saliency", "cls_attentoin.", False),
            ("recipe", "lab.best", True),
            ("zoo", "qwen2.5", False),
        ],
    )
    def test_a_name_of_a_vendor_is_told_where_to_come_from(
        self, registry: Registry, kind: str, name: str, hinted: bool
    ) -> None:
        with pytest.raises(UnknownNameError) as caught:
            registry.get(kind, name)
        assert ("install the package, or pass the file with --plugin FILE.py" in str(caught.value)) is hinted

    def test_a_vendor_whose_plugin_is_broken_is_not_told_to_install_it(self) -> None:
        failure = Failure(Origin("acme", "1.2", "depth", "acme_depth"), "ImportError: no zlib")
        with pytest.raises(UnknownNameError) as caught:
            Registry([record("beta.a", "beta")], failures=[failure]).get("saliency", "acme.depth")
        assert "broken plugin" in str(caught.value)
        assert "install the package" not in str(caught.value)

    def test_each_kind_of_part_has_at_most_one_default(self, registry: scope.Registry) -> None:
        for kind in (kind.name for kind in KINDS if kind.base):
            defaults = [r.name for r in registry.records(kind) if getattr(r.item, "default", False)]
            found = registry.default(kind)
            assert defaults == ([found.name] if found else [])


class TestConflicts:
    def test_two_distributions_one_name(self) -> None:
        both = [record("acme.a", "acme"), record("acme.a", "beta"), record("acme.b", "beta")]
        registry = Registry(both)
        assert registry.names("saliency") == ["acme.a", "acme.b"]
        assert [r.name for r in registry.records("saliency")] == ["acme.b"]
        assert [(kind, name) for kind, name, _ in registry.conflicts()] == [("saliency", "acme.a")]
        with pytest.raises(PluginConflictError) as caught:
            registry.get("saliency", "acme.a")
        for text in ("acme 1.0", "beta 1.0", "SCOPE_DISABLE_PLUGINS=beta", "prefer={'acme.a': 'acme'}"):
            assert text in str(caught.value)

    def test_the_caller_may_choose(self) -> None:
        both = [record("acme.a", "acme"), record("acme.a", "beta")]
        chosen = Registry(both, prefer={"acme.a": "beta"})
        assert chosen.get("saliency", "acme.a").origin.distribution == "beta"
        assert chosen.conflicts() == []


class TestTargets:
    def lazy(self, registry: scope.Registry, target: Any, **more: Any) -> Any:
        item = Entry(spec_named("acme.lazy"), target, "lazy", **more)
        wider = registry.with_module(module(scope_saliency_sources=[item]))
        return wider.build("saliency", item.model())

    @pytest.mark.parametrize(
        ("target", "error", "text"),
        [
            (
                "acme_nowhere:Part",
                MissingDependencyError,
                "No module named 'acme_nowhere'. Try: pip install acme-extra",
            ),
            ("scope_core:Nothing", PluginError, "there is nothing at 'scope_core:Nothing'"),
            ("scope_core", PluginError, "there is nothing at 'scope_core'"),
            (":x", PluginError, "there is nothing at ':x'"),
            ("scope_core.parts:Budget", PluginError, "is not a subclass of scope_core.parts.SaliencySource"),
            (dict, PluginError, "is not a subclass of scope_core.parts.SaliencySource"),
        ],
    )
    def test_wrong_targets_are_named(
        self, target: Any, error: type[Exception], text: str, registry: scope.Registry
    ) -> None:
        with pytest.raises(error) as caught:
            self.lazy(registry, target, requires=("acme-extra",))
        assert "saliency 'acme.lazy' (this process)" in str(caught.value)
        assert text in str(caught.value)

    def test_a_target_module_that_raises_is_named(
        self, registry: scope.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "acme_raises.py").write_text("raise RuntimeError('no licence')\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(PluginError, match=r"'acme.lazy'.*\(acme_raises:Part\): RuntimeError: no licence"):
            self.lazy(registry, "acme_raises:Part")

    def test_a_lazy_target_is_imported_when_it_is_built(
        self, registry: scope.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        code = "import scope_core\nclass Part(scope_core.parts.SaliencySource):\n    def score(self, tokens): ...\n"
        (tmp_path / "acme_late.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        item = Entry(spec_named("acme.lazy"), "acme_late:Part", "lazy")
        wider = registry.with_module(module(scope_saliency_sources=[item]))
        assert "acme_late" not in sys.modules
        part = wider.build("saliency", item.model())
        monkeypatch.delitem(sys.modules, "acme_late")
        assert (part.kind, part.origin, str(part)) == ("saliency", "this process", "'acme.lazy' (this process)")

    def test_a_class_named_by_text_brings_its_spec(
        self, registry: scope.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        code = (
            "import scope_core\nfrom typing import Literal\n"
            "class Spec(scope_core.parts.ComponentSpec):\n"
            "    name: Literal['acme.late'] = 'acme.late'\n    power: int = 1\n"
            "class Base(scope_core.parts.SaliencySource[Spec]):\n    def score(self, tokens): ...\n"
            "class Part(Base): ...\n"
            "class Loose(scope_core.parts.SaliencySource):\n    def score(self, tokens): ...\n"
        )
        (tmp_path / "acme_text.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        entries = [Entry("acme_text:Part", "acme.late", "late"), Entry("acme_text:Part", "acme.other", "misnamed")]
        wider = registry.with_module(
            module(scope_saliency_sources=[*entries, Entry("acme_text:Loose", "acme.loose", "without a spec")])
        )
        assert [name for name in wider.names("saliency") if name.startswith("acme")] == [
            "acme.late", "acme.loose", "acme.other",
        ]  # fmt: skip
        assert "acme_text" not in sys.modules
        pruner = scope.Pruner("scope@4", saliency={"name": "acme.late", "power": 2}, registry=wider)
        assert pruner.parts["selector"].parts["saliency"].spec.power == 2
        with pytest.raises(PluginError, match=r"saliency 'acme.other' .* has the spec of 'acme.late'"):
            _ = wider.get("saliency", "acme.other").spec
        with pytest.raises(PluginError, match=r"saliency 'acme.loose' .* has no spec"):
            _ = wider.get("saliency", "acme.loose").spec
        monkeypatch.delitem(sys.modules, "acme_text")

    @pytest.mark.parametrize("given", [(dict, "a:b"), ("a:b", dict), (None, "a:b")])
    def test_an_entry_of_neither_form_is_refused(self, given: tuple[Any, Any]) -> None:
        with pytest.raises(PluginError, match=r"Entry\(.*start with the part's class and name as text"):
            Entry(*given, "about")

    def test_a_part_with_an_abstract_method_left_is_named(self, registry: scope.Registry) -> None:
        wider = with_part(registry, SaliencySource)
        with pytest.raises(PluginError, match=r"saliency 'acme.fake' .* cannot be built: TypeError: .*abstract.*score"):
            scope.Pruner({"recipe": "scope", "saliency": "acme.fake"}, registry=wider)

    def test_a_constructor_that_raises_is_named(self, registry: scope.Registry) -> None:
        def fails(self: object, spec: object, parts: object) -> None:
            raise KeyError("weights")

        wider = with_part(registry, SaliencySource, score=lambda self, tokens: None, __init__=fails)
        with pytest.raises(PluginError, match=r"saliency 'acme.fake' .* cannot be built: KeyError: 'weights'"):
            scope.Pruner({"recipe": "scope", "saliency": "acme.fake"}, registry=wider)


class TestWithModule:
    def test_the_given_registry_is_left_alone(self, registry: scope.Registry) -> None:
        before = registry.names("saliency")
        wider = with_part(registry, SaliencySource, score=lambda self, tokens: None)
        assert wider.names("saliency") == sorted([*before, "acme.fake"])
        assert registry.names("saliency") == before

    def test_modules_can_be_added_one_after_another(self, registry: scope.Registry) -> None:
        first = entry(SaliencySource, "acme.one", score=None)
        second = entry(SaliencySource, "acme.two", score=None)
        wider = registry.with_module(module("one", scope_saliency_sources=[first]))
        wider = wider.with_module(module("two", scope_saliency_sources=[second]))
        assert {"acme.one", "acme.two"} <= set(wider.names("saliency"))

    def test_an_object_may_be_the_plugin(self, registry: scope.Registry) -> None:
        class Plugin:
            @hookimpl
            def scope_saliency_sources(self) -> list[Entry]:
                return [entry(SaliencySource, "acme.object", score=None)]

        assert registry.with_module(Plugin()).has("saliency", "acme.object")

    def test_a_name_that_is_taken_is_a_conflict(self, registry: scope.Registry) -> None:
        taken = entry(SaliencySource, "uniform", score=None)
        wider = registry.with_module(module(scope_saliency_sources=[taken]))
        with pytest.raises(PluginConflictError, match=r"'uniform' is given by scope-core .* and this process"):
            wider.get("saliency", "uniform")

    @pytest.mark.parametrize(
        ("hook", "items", "marked", "text"),
        [
            ("scope_salience_sources", [], True, "no hook called 'scope_salience_sources' (did you mean 'scope_sal"),
            ("scope_saliency_sources", [], False, "is not marked with @scope_core.parts.hookimpl"),
            (
                "scope_saliency_sources",
                ["x"],
                True,
                "scope_saliency_sources yielded 'x', which is not a scope_core.parts.Entry",
            ),
            (
                "scope_saliency_sources",
                None,
                True,
                "scope_saliency_sources returned None; return or yield Entry objects",
            ),
            ("scope_recipes", [Recipe("Über", {}, "")], True, "recipe name 'Über' may hold only a-z"),
        ],
    )
    def test_what_a_hook_may_not_do(
        self, hook: str, items: Any, marked: bool, text: str, registry: scope.Registry
    ) -> None:
        plugin = module()
        setattr(plugin, hook, hook_function("acme_plugin", hook, items, marked=marked))
        with pytest.raises(PluginError) as caught:
            registry.with_module(plugin)
        assert text in str(caught.value)

    def test_a_misspelt_or_unmarked_method_of_an_object_is_found_too(self, registry: scope.Registry) -> None:
        class Misspelt:
            @hookimpl
            def scope_salience_sources(self) -> list[Entry]:
                return []

        class Unmarked:
            def scope_saliency_sources(self) -> list[Entry]:
                return []

        with pytest.raises(PluginError, match="did you mean 'scope_saliency_sources'"):
            registry.with_module(Misspelt())
        with pytest.raises(PluginError, match=r"not marked with @scope_core\.parts\.hookimpl"):
            registry.with_module(Unmarked())


def test_a_long_list_of_names_counts_variants() -> None:
    names = [f"m{number}" for number in range(30)] + [f"m{number}@official" for number in range(25)] + ["other@x"]
    assert choices(names[:40]) == listed(names[:40])
    assert choices(names) == f"{listed([*names[:30], 'other@x'])}, and 25 variants, such as 'm0@official'"
