"""Who may import whom, and what library code may not do at all."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter

import pytest

import scope_core as scope
from architecture.sources import Source, everything, sources
from scope_core.registry.kinds import KINDS

HEAVY = ("transformers", "timm", "onnx", "safetensors", "huggingface_hub")
GUESTS = ("scope_plugins", "scope_adapters")
HOOKS = {kind.hook for kind in KINDS}  # the hook for adapters is called as their package is

# errors <- tokens <- interfaces <- everything: what the lowest layers may import, at any time and for types alone
LOWEST = {
    "scope_core.errors": set(),
    "scope_core.structures.signals": {"scope_core.errors"},
    "scope_core.structures.layout": {"scope_core.errors"},
    "scope_core.structures.tokens": {"scope_core.errors", "scope_core.structures.signals"},
    "scope_core.structures.selection": {"scope_core.errors", "scope_core.structures.tokens"},
}


def where(source: Source, line: int) -> str:
    return f"{source.module}, line {line}"


@pytest.mark.parametrize("module", LOWEST)
def test_the_lowest_layers_import_only_those_below(module: str) -> None:
    (source,) = (source for source in sources("scope_core") if source.module == module)
    assert {name for name, _, _ in source.imports() if name.startswith("scope_core")} <= LOWEST[module]


def test_core_has_no_import_cycle() -> None:
    graph = {
        source.module: {
            name
            for name, _, _ in source.imports(runtime=True, top_level=True)
            if name.startswith("scope_core.") and name != source.module
        }
        for source in sources("scope_core")
    }
    assert len(list(TopologicalSorter(graph).static_order())) >= len(graph)


def test_interfaces_load_without_the_machinery_above_them() -> None:
    (source,) = (source for source in sources("scope_core") if source.module == "scope_core.interfaces")
    loaded = {name for name, _, _ in source.imports(runtime=True, top_level=True) if name.startswith("scope_core")}
    assert loaded <= {
        "scope_core.errors",
        "scope_core.structures.tokens",
        "scope_core.registry.specs",
        "scope_core.structures.layout",
        "scope_core.structures.signals",
    }


@pytest.mark.parametrize("package", GUESTS)
def test_guests_import_public_names_only_and_never_each_other(package: str) -> None:
    for source in sources(package):
        for module, names, line in source.imports():
            root = module.split(".")[0]
            assert root == package or root not in GUESTS, f"{where(source, line)} imports {module}"
            if root == "scope_core":
                assert module == "scope_core", f"{where(source, line)} imports from {module}"
                private = set(names) - set(scope.__all__)
                assert names, f"{where(source, line)}: import names from scope_core, not the module"
                assert not private, f"{where(source, line)} imports {private}, which is not public"


def test_core_names_no_guest() -> None:
    for source in sources("scope_core"):
        for module, _, line in source.imports():
            assert module.split(".")[0] not in GUESTS, f"{where(source, line)} imports {module}"
        for text, line in source.strings():
            named = any(guest in text for guest in GUESTS) and text not in HOOKS
            assert not named, f"{where(source, line)} says {text!r}"


def test_heavy_packages_are_imported_inside_adapter_functions_only() -> None:
    for source in everything():
        at_once = {line for _, _, line in source.imports(runtime=True, top_level=True)}
        for module, _, line in source.imports(runtime=True):
            if module.split(".")[0] in HEAVY:
                assert source.package == "scope_adapters", f"{where(source, line)} imports {module}"
                assert line not in at_once, f"{where(source, line)} imports {module} at import time"


def test_guests_declare_their_parts_without_torch() -> None:
    """Registering a part must not load torch, or listing would be slow: torch is for functions and type checkers."""
    for package in GUESTS:
        for source in sources(package):
            if source.path.name == "__init__.py":
                loaded = [m for m, _, _ in source.imports(runtime=True, top_level=True) if m.split(".")[0] == "torch"]
                assert not loaded, source.module


def test_the_environment_is_read_in_discovery_only() -> None:
    for source in everything():
        for node in ast.walk(source.tree):
            name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            if name in ("environ", "environb", "getenv"):
                assert source.module == "scope_core.registry.discovery", (
                    f"{where(source, node.lineno)} reads the environment"
                )


def test_library_code_neither_asserts_nor_prints() -> None:
    for source in everything():
        for node in ast.walk(source.tree):
            assert not isinstance(node, ast.Assert), (
                f"{where(source, node.lineno)}: raise an error that says what is wrong"
            )
            called = node.func if isinstance(node, ast.Call) else None
            assert not (isinstance(called, ast.Name) and called.id == "print"), where(
                source, getattr(node, "lineno", 0)
            )


def test_nothing_is_built_at_import_time() -> None:
    """No module of the core calls `default_registry()` or `discover()` while it is imported."""
    for source in sources("scope_core"):
        for statement in source.tree.body:
            for node in ast.walk(statement) if not isinstance(statement, (ast.FunctionDef, ast.ClassDef)) else ():
                called = node.func if isinstance(node, ast.Call) else None
                name = called.id if isinstance(called, ast.Name) else ""
                assert name not in ("default_registry", "discover"), where(source, getattr(node, "lineno", 0))
