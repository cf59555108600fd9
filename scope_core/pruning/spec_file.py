"""Spec files: YAML or JSON read as plain data, and the lines that options are on."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from scope_core.errors import SpecError, did_you_mean, quoted
from scope_core.pruning.spec_limits import BYTES, DEPTH, VALUES

SUFFIXES = (".yaml", ".yml", ".json")


def is_file_name(text: str) -> bool:
    """True for a text that ends like a spec file."""
    return text.lower().endswith(SUFFIXES)


LineOf = Callable[[Sequence[str]], "int | None"]
"""The line, from 1, of the option at a place: the names of the tables that it is in, and its own."""


def read_file(path: Path) -> tuple[Any, LineOf]:
    """The data of a spec file, and a function that finds lines in it.

    Raises:
        SpecError: the file cannot be read, is too large, or is not YAML or JSON.
    """
    kind = "JSON" if path.suffix.lower() == ".json" else "YAML"
    return read_text(_text(path), f"spec file {quoted(str(path), 400)}", name=path.name, kind=kind)


def read_text(text: str, where: str, *, name: str = "spec", kind: str = "YAML") -> tuple[Any, LineOf]:
    """The data of a spec file's text, and a function that finds lines in it.

    Args:
        text: The text.
        where: The spec's name in messages.
        name: The name in front of lines and columns in messages.
        kind: ``"YAML"`` or ``"JSON"``.

    Raises:
        SpecError: the text is too large, or is not YAML or JSON.
    """
    if len(text) > BYTES:
        raise SpecError(f"{where} is larger than {BYTES:,} bytes, which no spec needs")
    try:
        if kind == "JSON":
            return json.loads(text, object_pairs_hook=_without_duplicates), _Lines(text)
        loader = _Loader(text)
        loader.name = name
        node = loader.get_single_node()  # type: ignore[no-untyped-call, unused-ignore]
        data = None if node is None else loader.construct_document(node)  # type: ignore[no-untyped-call, unused-ignore]
        return data, _Lines(text, node)
    except RecursionError as error:
        raise SpecError(f"{where} holds too many tables or lists inside each other") from error
    except Exception as error:  # PyYAML raises also KeyError and AttributeError, for tags such as `!!bool maybe`
        reason = (
            str(error) if isinstance(error, (yaml.YAMLError, ValueError)) else f"a value cannot be read ({error!r})"
        )
        raise SpecError(f"{where} is not valid {kind}: {reason[:600]}") from error


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(BYTES + 1)
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        nearby = [file.name for file in path.parent.glob("*") if is_file_name(file.name)] if missing else []
        hint = did_you_mean(path.name, nearby)
        reason = getattr(error, "strerror", None) or error
        raise SpecError(f"cannot read spec file {quoted(str(path), 400)}: {reason}{hint}") from error
    if len(data) > BYTES:
        raise SpecError(f"spec file {quoted(str(path), 400)} is larger than {BYTES:,} bytes, which no spec needs")
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # as Windows PowerShell redirects output
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SpecError(
            f"cannot read spec file {quoted(str(path), 400)}: line {line} is not {error.encoding.upper()} text "
            f"({error.reason}); save the file as UTF-8"
        ) from error


@dataclass
class _Lines:
    """The lines of a spec file's options."""

    text: str
    node: Any = None
    """The file's node if it was read as YAML; JSON is nearly YAML, and is composed when a line is asked for."""

    def __call__(self, place: Sequence[str]) -> int | None:
        """The line of the innermost option of ``place`` that is written in the file."""
        if self.node is None and self.text:
            text, self.text = self.text, ""
            try:
                self.node = yaml.compose(text, Loader=_Loader) if len(text) < 50_000 else None  # type: ignore[no-untyped-call, unused-ignore]
            except Exception:  # JSON that is no YAML: messages name no lines
                return None
        line, node = None, self.node
        for step in place:
            found = _entry(node, step)
            if found is None:
                break
            key, node = found
            line = key.start_mark.line + 1
        return line


def _entry(node: Any, step: str) -> tuple[Any, Any] | None:
    """The node of a key and of its value; for lists, that of the item twice."""
    if isinstance(node, yaml.MappingNode):
        return next((entry for entry in reversed(node.value) if entry[0].value == step), None)
    if isinstance(node, yaml.SequenceNode) and step.isdecimal() and int(step) < len(node.value):
        return node.value[int(step)], node.value[int(step)]
    return None


def _without_duplicates(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    table: dict[Any, Any] = {}
    for key, value in pairs:
        if key in table:
            raise ValueError(f"{quoted(key)} is given twice")
        table[key] = value
    return table


_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """A safe loader with limits, which refuses keys given twice and numbers that YAML 1.1 and 1.2 read differently.

    PyYAML itself uses the last of two equal keys, reads 010 as 8 and 1:30 as 90, and 1e3 as text.
    """

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._values, self._depth = 0, 0

    def _count(self, more: int, mark: Any) -> None:
        self._values += more
        if self._values > VALUES:
            raise ComposerError(None, None, f"the file holds more than {VALUES:,} keys and values", mark)

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call, unused-ignore]
        self._count(1, mark)
        if self._depth > DEPTH:
            raise ComposerError(None, None, f"more than {DEPTH} tables or lists are inside each other", mark)
        self._depth += 1
        node = super().compose_node(parent, index)  # type: ignore[no-untyped-call, unused-ignore]
        self._depth -= 1
        return node

    def flatten_mapping(self, node: Any) -> None:
        """Write out the keys merged by ``<<``, each once: a table's own keys replace merged ones."""
        seen = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                more = "; to merge several tables write <<: [*one, *other]" if key.tag == _MERGE else ""
                raise ConstructorError(None, None, f"{quoted(key.value)} is given twice{more}", key.start_mark)
            seen.add((key.tag, key.value))
            for source in (value.value if isinstance(value, yaml.SequenceNode) else [value]) * (key.tag == _MERGE):
                if isinstance(source, yaml.MappingNode):
                    self.flatten_mapping(source)
                    self._count(len(source.value), key.start_mark)
        super().flatten_mapping(node)  # type: ignore[no-untyped-call, unused-ignore]
        last = {
            (key.tag, key.value) if isinstance(key.value, Hashable) else id(key): (key, value)
            for key, value in node.value
        }
        node.value = list(last.values())

    def construct_number(self, node: Any) -> Any:
        """A number, unless YAML 1.1 and 1.2 read it differently."""
        if re.fullmatch(r"[-+]?(0[0-9_]+|[0-9_]+(:[0-9_.]+)+)", str(node.value)):
            text = f"{node.value} is one number in YAML 1.1 and another or text in 1.2; write it in plain decimals"
            raise ConstructorError(None, None, text, node.start_mark)
        whole = node.tag.endswith(":int")
        return self.construct_yaml_int(node) if whole else self.construct_yaml_float(node)  # type: ignore[no-untyped-call, unused-ignore]


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)
