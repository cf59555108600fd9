"""The library's source files as syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "scope_core": ROOT / "scope_core",
    "scope_plugins": ROOT / "plugins" / "scope_plugins",
    "scope_bench": ROOT / "plugins" / "scope_bench",
    "scope_demo": ROOT / "plugins" / "scope_demo",
    "scope_adapters": ROOT / "model_adapters" / "scope_adapters",
}


@dataclass(frozen=True)
class Source:
    """One module: its dotted name, and its tree."""

    module: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.module.split(".")[0]

    def imports(self, *, runtime: bool = False, top_level: bool = False) -> Iterator[tuple[str, tuple[str, ...], int]]:
        """``(module, names, line)`` of each import.

        Args:
            runtime: Leave out what stands under ``if TYPE_CHECKING``.
            top_level: Leave out what stands inside functions.
        """
        for node in self._nodes(self.tree, runtime, top_level):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name, (), node.lineno
            elif isinstance(node, ast.ImportFrom):
                yield node.module or "", tuple(alias.name for alias in node.names), node.lineno

    def _nodes(self, root: ast.AST, runtime: bool, top_level: bool) -> Iterator[ast.AST]:
        for node in ast.iter_child_nodes(root):
            yield node
            if runtime and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                for kept in node.orelse:
                    yield kept
                    yield from self._nodes(kept, runtime, top_level)
            elif not (top_level and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))):
                yield from self._nodes(node, runtime, top_level)

    def strings(self) -> Iterator[tuple[str, int]]:
        """String literals and their lines, docstrings (of attributes too) left out."""
        statements = {id(node.value) for node in ast.walk(self.tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statements:
                yield node.value, node.lineno


@cache
def sources(package: str) -> tuple[Source, ...]:
    """Every module of a package."""
    root = PACKAGES[package]
    found = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Source(module, path, ast.parse(path.read_text(encoding="utf-8"))))
    return tuple(found)


def everything() -> tuple[Source, ...]:
    """Every module of the four packages."""
    return tuple(source for package in PACKAGES for source in sources(package))
