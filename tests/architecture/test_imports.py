"""Who may import whom, and what library code may not do at all."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

import pytest

from architecture.sources import Source, everything, sources
from scope_core.registry.kinds import KINDS

HEAVY = ("transformers", "timm", "onnx", "safetensors", "huggingface_hub")
GUESTS = ("scope_plugins", "scope_bench", "scope_demo", "scope_adapters")
COMMAND_LINE = {
    "scope_bench": {
        *(f"scope_core.cli.{name}" for name in ("clips", "methods", "selections", "panels", "commands.select")),
        *(f"scope_core.drawing.{name}" for name in ("page", "patches", "text")),
    },
    "scope_demo": {
        *(f"scope_core.cli.{name}" for name in ("methods", "photos")),
        *(f"scope_core.{name}" for name in ("drawing.patches", "structures.marks", "structures.overlay")),
    },
}
"""What `scope compare`, `scope bench` and `scope demo` share with `scope select`; see docs/decisions/0022-faces.md."""
FACES = {
    "scope_core",
    *(f"scope_core.{face}" for face in ("parts", "adapters", "plot", "tasks", "commands", "testing")),
}
HOOKS = {kind.hook for kind in KINDS}  # the hook for adapters is called as their package is

# from the lowest floor up: a room imports from its own floor and from those below it
FLOORS = (
    (
        *(
            "clips",
            "display",
            "errors",
            "faces",
            "folders",
            "frames",
            "images",
            "memory",
            "notes",
            "pixels",
            "progress",
        ),
        *("untraced", "version"),
    ),
    ("drawing",),
    ("structures",),
    ("registry",),
    ("parts",),
    ("engine",),
    ("pruning",),
    ("", "adapters", "plot", "sweeps", "tasks"),  # faces; the root also fills the registry's default in
    ("testing",),
    ("cli", "__main__"),
    ("commands",),  # the face of who writes commands
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def where(source: Source, line: int) -> str:
    return f"{source.module}, line {line}"


def room_of(module: str) -> str:
    """``"parts"`` for ``scope_core.parts.base``; "" for the root."""
    return [*module.split("."), ""][1]


def imported(source: Source) -> Iterator[tuple[str, int]]:
    """``(module, line)`` of every import of one of our modules: at the top, in functions, and for types alone."""
    known = {other.module for other in everything()}
    for module, names, line in source.imports():
        inner = [f"{module}.{name}" for name in names if f"{module}.{name}" in known]
        yield from ((one, line) for one in inner or ([module] if module in known else []))


def test_every_room_of_core_has_a_floor() -> None:
    assert {room_of(source.module) for source in sources("scope_core")} == set(FLOOR_OF)


def test_core_imports_downwards_only() -> None:
    for source in sources("scope_core"):
        floor = FLOOR_OF[room_of(source.module)]
        for module, line in imported(source):
            if module.split(".")[0] == "scope_core":
                assert FLOOR_OF[room_of(module)] <= floor, f"{where(source, line)} imports {module}, from above"


def test_no_circle_of_imports() -> None:
    """Annotations and imports inside functions count: a circle is one wherever its arrows stand."""
    arrows = {source.module: dict(imported(source)) for source in everything()}
    graph = {module: set(found) - {module} for module, found in arrows.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = error.args[1][::-1]  # each is imported by the one after it, as graphlib tells it; turned round
        lines = [f"{one}, line {arrows[one][other]} imports {other}" for one, other in pairwise(circle)]
        pytest.fail("\n".join(["a circle of imports:", *lines]))


@pytest.mark.parametrize("package", GUESTS)
def test_guests_import_from_faces_only_and_never_each_other(package: str) -> None:
    for source in sources(package):
        for module, names, line in source.imports():
            root = module.split(".")[0]
            assert root == package or root not in GUESTS, f"{where(source, line)} imports {module}"
            if root == "scope_core":
                if module in COMMAND_LINE.get(package, ()):
                    continue
                if (source.module, module, names) == (package, "scope_core.faces", ("lazy",)):
                    continue  # a package's own face
                assert module in FACES, f"{where(source, line)} imports from {module}, which is not a face"
                private = set(names) - set(importlib.import_module(module).__all__) - {"parts", "adapters", "tasks"}
                assert not private, f"{where(source, line)} imports {private}, which {module} does not name"


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


def test_the_environment_is_read_in_discovery_and_for_the_cache_folder_only() -> None:
    for source in everything():
        for node in ast.walk(source.tree):
            name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            if name in ("environ", "environb", "getenv"):
                assert source.module in ("scope_core.registry.discovery", "scope_core.folders"), (
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
