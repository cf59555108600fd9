"""`Calibration`: what `scope calibrate` measured on a folder of images, and the small file that holds it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scope_core.display import brief_repr
from scope_core.errors import SpecError, listed, quoted
from scope_core.structures.declaration import Declaration

BYTES = 5_000_000
"""Largest file that is read; one of 1369 places has 30 kB."""
KINDS = {"prior": "a position prior", "heads": "head weights", "layers": "shares of layers"}
_KEYS = ("scope_calibration", "kind", "saliency", "model", "architecture", "images", "values")


@dataclass(frozen=True)
class Calibration:
    """A position prior, head weights or shares of layers, and what they were measured on.

    Attributes:
        kind: ``"prior"``: mean saliency at each place of a tile; ``"heads"``: a weight for each head; ``"layers"``: for
            each layer from 0, the share of tokens that it and those before leave, at thresholds evenly from 0 to 1.
        saliency: Options of the saliency source that was measured, its name included.
        model: Name of the tower or model.
        architecture: Its numbers, from `numbers_of`; empty if unknown.
        images: Number of images.
        values: Rows of the prior, above 0; the weights, at least 0, with a sum of 1; or rows of the shares, 0 to 1.
    """

    kind: str
    saliency: Mapping[str, Any]
    model: str
    architecture: str
    images: int
    values: tuple[Any, ...]

    __repr__ = brief_repr

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, columns) of a prior, (heads,) of head weights, (layers, thresholds) of shares."""
        return (len(self.values),) if self.kind == "heads" else (len(self.values), len(self.values[0]))

    def to_text(self) -> str:
        """The file's text."""
        facts = dict(zip(_KEYS, (1, *(getattr(self, name) for name in _KEYS[1:])), strict=True))
        lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in facts.items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def read(cls, path: str, kind: str) -> Calibration:
        """The calibration in a file.

        Args:
            path: The file; a relative path starts at the current folder.
            kind: The kind that is wanted.

        Raises:
            SpecError: the file cannot be read, is not a calibration, or is of the other kind.
        """
        where = f"calibration file {quoted(path, 400)}"
        try:
            with Path(path).open("rb") as file:
                raw = file.read(BYTES + 1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SpecError(f"{where} cannot be read: {reason}; `scope calibrate` makes one") from error
        if len(raw) > BYTES:
            raise SpecError(f"{where} is larger than {BYTES:,} bytes, which no calibration needs")
        try:
            data = json.loads(raw.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise SpecError(f"{where} is not JSON ({error}); `scope calibrate` makes one") from error
        if not isinstance(data, dict) or data.get("scope_calibration") != 1:
            raise SpecError(
                f'{where} is not one that `scope calibrate` wrote for this version: it has no "scope_calibration": 1'
            )
        lost = [key for key in _KEYS if key not in data]
        if lost:
            raise SpecError(f"{where} lacks {listed(lost)}; make it again with `scope calibrate`")
        found = cls(*(data[key] for key in _KEYS[1:]))
        if wrong := found._mistake():
            raise SpecError(f"{where}: {wrong}; make it again with `scope calibrate`")
        values = (tuple(value) if isinstance(value, list) else value for value in found.values)
        found = replace(found, values=tuple(values))
        if found.kind != kind:
            raise SpecError(
                f"{where} holds {KINDS[found.kind]}, not {KINDS[kind]}, which this part reads; `scope calibrate --kind "
                f"{kind}` makes them"
            )
        return found

    def _mistake(self) -> str:
        """What is wrong with the data; empty if nothing is."""
        if self.kind not in KINDS:
            return f"the kind is {quoted(self.kind)}, not {', '.join(KINDS)}"
        if not isinstance(self.saliency, dict) or not isinstance(self.saliency.get("name"), str):
            return "its saliency is not a table with a name"
        if not all(isinstance(text, str) for text in (self.model, self.architecture)):
            return "its model and architecture are not texts"
        if isinstance(self.images, bool) or not isinstance(self.images, int) or self.images < 1:
            return f"the number of images is {quoted(self.images)}"
        values: Any = self.values
        rows: list[Any] = values if self.kind != "heads" and isinstance(values, list) else [values]
        if not rows or not all(isinstance(row, list) and row and len(row) == len(rows[0]) for row in rows):
            return "its values are not " + ("a list of numbers" if self.kind == "heads" else "rows of one length")
        numbers = [value for row in rows for value in row]
        if not all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in numbers):
            return "a value is not a number"
        if not all(math.isfinite(one) and one >= 0 for one in numbers):
            return "a value is below 0 or not finite"
        if self.kind == "prior" and min(numbers) <= 0:
            return "a value of the prior is 0, and scores are divided by it"
        if self.kind == "layers":
            return _not_shares(rows)
        return "" if sum(numbers) > 0 else "all weights are 0"

    def check_saliency(self, options: Mapping[str, Any], where: str) -> None:
        """Refuse a file that was measured on another saliency source.

        Args:
            options: The options of the source that is to be calibrated.
            where: The file and the part, for the message.

        Raises:
            SpecError: the options differ.
        """
        mine, theirs = dict(options), dict(self.saliency)
        if mine != theirs:
            names = [name for name in {**theirs, **mine} if mine.get(name) != theirs.get(name)]
            first = "name" if "name" in names else names[0]
            raise SpecError(
                f"{where} was measured on the saliency {theirs['name']!r} with {first}: {quoted(theirs.get(first))}, "
                f"but this spec has {first}: {quoted(mine.get(first))}; measure this one with `scope calibrate`"
            )

    def misfit(self, declaration: Declaration) -> str:
        """The reason why a model is not the one that was measured; empty if it may be.

        A tower alone is told by its name, a model by its numbers, as far as both are known; weights are not compared.
        """
        alone = "projected" not in declaration.points
        if alone and self.model != declaration.model:
            return f"it was measured on '{self.model}', not on '{declaration.model}'"
        mine, inside = self.architecture, _INSIDE in self.architecture
        other = numbers_of(declaration, inside=inside)
        if mine and other and mine != other:
            return f"it was measured on '{self.model}' ({mine}), but {declaration.model} has {other}"
        return ""


def _not_shares(rows: list[list[float]]) -> str:
    """Why rows are no shares of layers; empty if they are."""
    if len(rows[0]) < 2 or max(map(max, rows)) > 1:
        return "shares must be two or more numbers of 0 to 1 for each layer"
    across = all(row == sorted(row, reverse=True) for row in rows)
    down = all(list(column) == sorted(column, reverse=True) for column in zip(*rows, strict=True))
    return "" if across and down else "shares grow with the threshold, or from layer to layer"


_INSIDE = "a language model of"


def numbers_of(declaration: Declaration, *, inside: bool) -> str:
    """The numbers by which a model is told from others, e.g. "a tower of 24 layers, 16 heads, width 1024".

    Args:
        declaration: Its declaration.
        inside: True to add those of the language model, for a saliency that reads it.
    """
    texts = [declaration.architecture] if declaration.architecture else []
    if inside and declaration.decoder_layers:
        texts.append(f"{_INSIDE} {declaration.decoder_layers} layers")
    return ", ".join(texts)
