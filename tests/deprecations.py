"""Reads what a library's source says is deprecated, and which of those names other source files use.

Marks differ: a decorator that renames an argument, a table of renamed attributes, a decorator on what will go, a
warning in words. All are read from the syntax tree, so nothing has to be called to be found.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

_QUOTED = r"`+(?:[\w.]+\.)?[A-Za-z_]\w*(?:\([^`]*\))?`+"
NAME = re.compile(_QUOTED.replace("[A-Za-z_]\\w*", "([A-Za-z_]\\w*)"))
SUBJECT = re.compile(
    rf"\s*(?:(?:[Tt]he|[Uu]sing|[Pp]assing|[Ss]etting|argument|class|method|function)\s+)*{_QUOTED}"
    rf"(?:\s*(?:/|,|and|or)\s*{_QUOTED})*"
)
SAYING = ("warn", "warn_once", "warning", "warning_once", "warning_advice")


@dataclass(frozen=True)
class Mark:
    """One mark: ``old`` is deprecated, ``new`` takes its place, on the function ``on`` (empty: in the whole module)."""

    module: str
    on: str
    old: str
    new: frozenset[str] = frozenset()
    argument: bool = False

    def __str__(self) -> str:
        instead = f"; use {' or '.join(sorted(self.new))}" if self.new else ""
        return f"{self.module}{f', {self.on}' if self.on else ''}: {self.old} is deprecated{instead}"


def marks(source: str, module: str) -> set[Mark]:
    """Everything that a module's source marks."""
    return set(_marks(ast.parse(source), module, "", ""))


def _marks(node: ast.AST, module: str, owner: str, on: str) -> Iterator[Mark]:
    if isinstance(node, ast.ClassDef):
        owner = node.name
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        on = owner if node.name == "__init__" else node.name
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        for decorator in node.decorator_list:
            yield from _decorated(decorator, on if not isinstance(node, ast.ClassDef) else node.name, module)
    if isinstance(node, ast.Call) and _called(node) == "deprecate_attr":
        yield from _attributes(node, module)
    elif isinstance(node, ast.Call) and _called(node) in SAYING:
        yield from _said(node, module, on)
    for child in ast.iter_child_nodes(node):
        yield from _marks(child, module, owner, on)


def _decorated(decorator: ast.expr, function: str, module: str) -> Iterator[Mark]:
    """``@deprecate_kwarg("old", "5.0", new_name="new")``, ``@deprecated("use `new`")``."""
    if not isinstance(decorator, ast.Call):
        return
    texts = [arg.value for arg in decorator.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    named = {word.arg: word.value.value for word in decorator.keywords if isinstance(word.value, ast.Constant)}
    if _called(decorator) == "deprecate_kwarg":
        old = named.get("old_name") or texts[0]
        new = named.get("new_name") or (texts[2] if len(texts) > 2 else None)
        yield Mark(module, function, old, frozenset({new} if new else ()), argument=True)
    elif _called(decorator) == "deprecated":
        yield Mark(module, "", function, frozenset(NAME.findall(" ".join(texts))) - {function})


def _attributes(call: ast.Call, module: str) -> Iterator[Mark]:
    """``__getattr__ = deprecate_attr(__name__, rename={"Old": (New, "5.0")})``."""
    for table in (word.value for word in call.keywords if isinstance(word.value, ast.Dict)):
        for key, value in zip(table.keys, table.values, strict=True):
            if isinstance(key, ast.Constant):
                first = value.elts[0] if isinstance(value, ast.Tuple) and value.elts else value
                yield Mark(module, "", key.value, frozenset({first.id} if isinstance(first, ast.Name) else ()))


def _said(call: ast.Call, module: str, on: str) -> Iterator[Mark]:
    """A warning in words: names that a sentence begins with are old, names behind "deprecated" are new."""
    text = "".join(
        part.value
        for arg in call.args[:1]
        for part in ast.walk(arg)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )
    before, found, after = text.partition("deprecated")
    if found:
        new = frozenset(NAME.findall(after))
        subject = SUBJECT.match(before.rpartition(". ")[2])
        for old in set(NAME.findall(subject[0])) - new if subject else ():
            yield Mark(module, on, old, new)


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


@dataclass(frozen=True)
class Uses:
    """The names that a file uses: as arguments (keywords, parameters, strings) and in any way."""

    arguments: frozenset[str]
    names: frozenset[str]

    @classmethod
    def of(cls, source: str) -> Uses:
        """Read from source; docstrings do not count."""
        tree = ast.parse(source)
        told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        arguments, names = set[str](), set[str]()
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
                arguments.update(word for word in re.split(r"[.\s,]+", node.value) if word.isidentifier())
            elif isinstance(node, (ast.keyword, ast.arg)) and node.arg:
                arguments.add(node.arg)
            elif isinstance(node, ast.Attribute):
                names.add(node.attr)
            elif isinstance(node, ast.alias):
                names.add(node.name)
            elif isinstance(node, ast.Name):
                names.add(node.id)
        return cls(frozenset(arguments), frozenset(arguments | names))

    def relies_on(self, mark: Mark) -> bool:
        """True if this file uses what is deprecated, and nothing that takes its place.

        An argument counts where the file names the function as well; `forward` is called by calling the module.
        """
        mine = self.arguments if mark.argument else self.names
        reached = not mark.argument or mark.on in self.names or mark.on in ("forward", "__call__")
        return reached and mark.old in mine and not mark.new & mine
