"""A part added to a package that exists: its module of hooks, and the text of that module with one more part."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import typer

_SECTION = re.compile(
    r"^\[project\.entry-points\.[\"']?scope_core[\"']?\]\s*\n(?P<lines>(?:(?!\[).*\n?)*)", re.MULTILINE
)
_LINE = re.compile(r"^\s*[\w.\"'-]+\s*=\s*[\"'](?P<module>[\w.]+)[\"']", re.MULTILINE)
OPTION = "'--into'"


@dataclass(frozen=True)
class Package:
    """A package with a plugin in it.

    Attributes:
        folder: The folder with ``pyproject.toml``.
        distribution: Its name there.
        module: The module that holds the hooks.
        file: The file of that module.
    """

    folder: Path
    distribution: str
    module: str
    file: Path

    @property
    def source(self) -> str:
        """The folder of the package's modules, from `folder`."""
        return self.file.parent.relative_to(self.folder).as_posix()


def package_in(folder: Path) -> Package:
    """The package in a folder.

    Raises:
        typer.BadParameter: it is no package with a scope-core plugin whose hooks are in an ``__init__.py``.
    """
    project = folder / "pyproject.toml"
    if not project.is_file():
        raise typer.BadParameter(f"'{folder}' has no pyproject.toml; give a package's folder", param_hint=OPTION)
    text = project.read_text(encoding="utf-8")
    section = _SECTION.search(text)
    modules = [match["module"] for match in _LINE.finditer(section["lines"])] if section else []
    if not modules:
        raise typer.BadParameter(
            f"'{project}' has no entry point of scope-core; add [project.entry-points.scope_core] with a line such as "
            f'acme = "scope_acme"',
            param_hint=OPTION,
        )
    path = Path(*modules[0].split("."), "__init__.py")
    found = [folder / below / path for below in ("src", ".") if (folder / below / path).is_file()]
    if not found:
        raise typer.BadParameter(
            f"the module of hooks '{modules[0]}' is no package below '{folder}' or its src; add the part by hand",
            param_hint=OPTION,
        )
    name = re.search(r"^name\s*=\s*[\"']([^\"']+)[\"']", text, re.MULTILINE)
    return Package(folder, name[1] if name else folder.name, modules[0], found[0])


def with_hook(text: str, hook: str, new: str) -> str:
    """``text``, the module of hooks, with what ``new``, a module with one hook, yields, and its imports.

    Raises:
        ValueError: the module cannot be changed; says why.
    """
    try:
        old = ast.parse(text)
    except SyntaxError as error:
        raise ValueError(f"it is not valid Python: line {error.lineno}: {error.msg}") from error
    lines, added = text.splitlines(), new.splitlines()
    fresh = _function(ast.parse(new), hook)
    if fresh is None:
        raise ValueError(f"there is no template of the hook {hook}")
    first = _function(old, hook)
    body = added[_start(fresh) - 1 : fresh.end_lineno]
    if first is None:
        lines += ["", "", *body]
    else:
        if not isinstance(first.body[-1], ast.Expr) or not isinstance(first.body[-1].value, ast.Yield | ast.YieldFrom):
            raise ValueError(f"its function {hook} does not end in a yield")
        yielded = [node for node in fresh.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Yield)]
        indent = " " * first.body[-1].col_offset
        more = [f"{indent}{line[4:]}" for line in added[yielded[0].lineno - 1 : fresh.end_lineno]]
        lines[first.end_lineno : first.end_lineno] = more
    return "\n".join(_with_imports(lines, old, ast.parse(new))) + "\n"


def with_row(readme: str, row: str) -> str:
    """The README with one more row in its first table, if that is the table of parts."""
    table = re.search(r"^\| kind \| name \| file \|\n(?:\|.*\n)+", readme, re.MULTILINE)
    return readme if table is None else f"{readme[: table.end()]}{row}\n{readme[table.end() :]}"


def _function(module: ast.Module, name: str) -> ast.FunctionDef | None:
    return next((node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == name), None)


def _start(function: ast.FunctionDef) -> int:
    """The line of the first decorator."""
    return min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])


def _with_imports(lines: list[str], old: ast.Module, new: ast.Module) -> list[str]:
    """The lines with the imports of ``new`` that ``old`` lacks, after its last import."""
    have = {(node.module, name.asname or name.name) for node in _imports(old) for name in node.names}
    missing = []
    for node in _imports(new):
        names = [name for name in node.names if (node.module, name.asname or name.name) not in have]
        if names:
            missing.append(f"from {node.module} import {', '.join(map(ast.unparse, names))}")
    first = old.body[:1] if ast.get_docstring(old, clean=False) is not None else []
    ends = [*first, *(node for node in old.body if isinstance(node, ast.Import | ast.ImportFrom))]
    last = max((node.end_lineno or 0 for node in ends), default=0)
    return [*lines[:last], *missing, *lines[last:]]


def _imports(module: ast.Module) -> list[ast.ImportFrom]:
    found = [node for node in module.body if isinstance(node, ast.ImportFrom)]
    return [node for node in found if node.module != "__future__"]  # it may stand at the top of a file only
