"""`Demo`: what the page's controls ask for; nothing here knows the page."""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scope_core import Pruner, Registry, ScopeError, SpecError, ZooError
from scope_core.commands import label_of
from scope_demo.controls import Controls
from scope_demo.figures import budgets_of, curve_address, figure_of
from scope_demo.photos import read_upload, shipped
from scope_demo.recent import Recent
from scope_demo.specs import pruner_of, with_budget, yaml_of
from scope_demo.subject import Chosen, Photo, Subject

LOG = logging.getLogger(__name__)
FIRST = ("scope", "visionzip", "divprune", "random")
"""Methods that are chosen at first, as far as they run."""
MOST = 6
"""Methods that are compared at once."""
QUESTION, SPEC = 500, 100_000
"""Longest question, and largest spec file, in characters."""
UPLOADS, VISITORS = 6, 1000
"""Uploads that stay decoded, and visitors that are known at once."""

Specs = Mapping[str, str]
"""A visitor's own specs: ``{name: YAML}``. A recipe that was changed stands under its own name."""


@dataclass(frozen=True)
class Asked:
    """What a visitor set.

    Attributes:
        photo: Key of a shipped image, or path of an upload.
        title: Name of the upload on the visitor's machine.
        methods: Names of methods: recipes, and those of ``specs``.
        budget: Tokens to keep.
        question: The question.
        specs: The visitor's own specs.
        theta: Threshold of theta-coverage.
        order: True to colour outlines by the order of the picks.
    """

    photo: str
    methods: tuple[str, ...]
    budget: int
    title: str = ""
    question: str = ""
    specs: Specs = field(default_factory=dict)
    theta: float = 0.8
    order: bool = False


class Demo:
    """Answers the page; for several visitors at once, since everything of a visitor comes with each call.

    Args:
        subject: The model or tower.
        registry: The registry that names are looked up in.

    Attributes:
        folder: The only folder that uploads are read from; None until there is one.
    """

    def __init__(self, subject: Subject, registry: Registry) -> None:
        self.subject, self.registry = subject, registry
        self.folder: Path | None = None
        self.shipped = {photo.key: photo for photo in shipped(registry, asked=subject.answers)}
        self.uploads: Recent[Photo] = Recent(UPLOADS)
        self.largest: dict[str, int] = {}
        self.turns: OrderedDict[str | None, int] = OrderedDict()
        self.controls = Controls(registry)
        self.recipes, self.refused = subject.recipes()

    @property
    def first(self) -> list[str]:
        """Methods to begin with."""
        return [name for name in FIRST if name in self.recipes] or self.recipes[:3]

    def turn(self, visitor: str | None, *, more: int = 0) -> int:
        """How often a visitor has set something; ``more`` counts on."""
        self.turns[visitor] = self.turns.pop(visitor, 0) + more
        while len(self.turns) > VISITORS:
            self.turns.popitem(last=False)
        return self.turns[visitor]

    def photo(self, key: str, title: str = "") -> Photo:
        """A shipped image, or an upload.

        Raises:
            ZooError: the upload cannot be read, or is gone.
        """
        if key in self.shipped:
            return self.shipped[key]
        path = self.uploaded(key)
        return self.uploads.get(key, lambda: read_upload(path, title or path.name))

    def uploaded(self, key: str) -> Path:
        """The file of an upload: only one in the folder of uploads, whatever a request names.

        Raises:
            ZooError: the folder has no such file.
        """
        try:
            path = Path(key).resolve()
            if self.folder is not None and path.is_relative_to(self.folder) and path.is_file():
                return path
        except (OSError, ValueError, RuntimeError):  # too long, or a null byte
            pass
        raise ZooError("this file is no longer on the server; choose it again")

    def pruner(self, name: str, asked: Asked) -> Pruner:
        """The pruner of a method at the slider's budget.

        Raises:
            ScopeError: the spec is wrong.
        """
        text = asked.specs.get(name)
        if text is None:
            return Pruner(name, registry=self.registry, budget=asked.budget)
        return pruner_of(text, asked.budget, self.registry)

    def label(self, name: str, pruner: Pruner) -> str:
        """The method's name with its budget, and the parts that a visitor changed."""
        label = label_of(pruner.spec, self.registry)
        own = name if name not in self.registry.names("recipe") else ""
        return f"{own}@{label.rpartition('@')[2]}" if own else label

    def figures(self, asked: Asked) -> dict[str, Any]:
        """The figure of each method: see `figure_of`; one that fails has ``error`` instead.

        Raises:
            ScopeError: the image cannot be read.
        """
        photo = self.photo(asked.photo, asked.title)
        for name in asked.methods[:MOST]:
            with suppress(ScopeError):  # it is told in the method's figure
                self.subject.expect(self.pruner(name, asked))
        return {"figures": [self._figure(name, photo, asked) for name in asked.methods[:MOST]], "theta": asked.theta}

    def _figure(self, name: str, photo: Photo, asked: Asked) -> dict[str, Any]:
        try:
            pruner = self.pruner(name, asked)
            chosen = self.subject.select(photo, pruner, asked.question)
            label = self.label(name, pruner)
            return figure_of(self.subject, photo, chosen, label=label, theta=asked.theta, order=asked.order)
        except Exception as error:
            return {"label": f"{name}@{asked.budget}", "error": said(error)}

    def answers(self, asked: Asked) -> Iterator[list[dict[str, Any]]]:
        """The answers so far: with all tokens first, then with each method's.

        Each is a dict of ``label``, ``text``, ``visual``, ``prompt``, ``ms``, ``tower_ms``, ``select_ms``, ``same`` (as
        with all tokens) and ``right``, both None if unknown; or of ``label`` and ``error``.

        Raises:
            ScopeError: there is no question, or the image cannot be read.
        """
        photo = self.photo(asked.photo, asked.title)
        question = checked_question(asked.question)
        right = dict(photo.questions).get(question, "")
        rows: list[dict[str, Any]] = []
        for name in (None, *asked.methods[:MOST]):
            rows.append(self._answer(name, photo, asked, question))
            row = rows[-1]
            if "text" in row:
                whole = rows[0].get("text")
                row["same"] = None if name is None or whole is None else row["text"] == whole
                row["right"] = None if not right else row["text"].strip().lower() == right.lower()
            yield list(rows)

    def _answer(self, name: str | None, photo: Photo, asked: Asked, question: str) -> dict[str, Any]:
        label = "all tokens" if name is None else f"{name}@{asked.budget}"
        try:
            pruner = None if name is None else self.pruner(name, asked)
            chosen = None if pruner is None else self.subject.select(photo, pruner, question)
            label = label if name is None or pruner is None else self.label(name, pruner)
            answer = self.subject.answer(photo, pruner, question)
        except Exception as error:
            return {"label": label, "error": said(error)}
        return {
            "label": label,
            "text": answer.text,
            "visual": answer.visual_tokens,
            "prompt": answer.prompt_tokens,
            "ms": answer.ms,
            "tower": answer.tower,
            "tower_ms": None if chosen is None else chosen.tower_ms,
            "select_ms": None if chosen is None else chosen.ms,
        }

    def curve(self, asked: Asked) -> tuple[str, list[list[Any]], list[str]]:
        """The curve of theta-coverage over budget: an image's address, the numbers as rows, and notes.

        The first row holds the budgets.
        """
        photo = self.photo(asked.photo, asked.title)
        curves: dict[str, list[Chosen]] = {}
        notes, budgets = [], list[int]()
        for name in asked.methods[:MOST]:
            try:
                pruner = self.pruner(name, asked)
                label = self.label(name, pruner).rpartition("@")[0]
                if self.subject.inside(pruner):
                    notes.append(f"{label} is not drawn: it selects inside the language model, call by call")
                    continue
                tokens = int(self.subject.select(photo, pruner).selection.tokens.valid[0].sum())
                budgets = budgets_of(tokens)
                curves[label] = [
                    self.subject.select(photo, self.pruner(name, _at(asked, budget))) for budget in budgets
                ]
            except Exception as error:
                notes.append(f"{name} is not drawn: {said(error)}")
        rows = [[label, *(round(one.coverage(asked.theta), 3) for one in points)] for label, points in curves.items()]
        address = curve_address(curves, asked.theta, asked.budget) if curves else ""
        return address, [["method", *budgets], *rows], notes

    def text(self, name: str, specs: Specs, budget: int) -> str:
        """The YAML of a method."""
        own = specs.get(name)
        return yaml_of(name, budget, self.registry) if own is None else with_budget(own, budget)

    def uploaded_spec(self, key: str, taken: Sequence[str]) -> tuple[str, str]:
        """Name and text of an uploaded spec file; the text is not checked yet.

        Raises:
            ScopeError: it is gone, too large, or not text.
        """
        path = self.uploaded(key)
        if path.stat().st_size > SPEC:
            raise SpecError(f"this file is larger than {SPEC // 1000} kB, which no spec needs")
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise SpecError("this file is not UTF-8 text; a spec is a YAML file") from error
        return free_name(path.stem, taken), text


def free_name(name: str, taken: Sequence[str]) -> str:
    """A short plain name that is not taken."""
    plain = re.sub(r"[^\w .+-]", "", name).strip()[:32] or "method"
    return next(one for one in (plain, *(f"{plain} {n}" for n in range(2, len(taken) + 3))) if one not in taken)


def checked_question(question: str) -> str:
    """The question without spaces around it.

    Raises:
        SpecError: it is empty or too long.
    """
    text = question.strip()
    if not text:
        raise SpecError("there is no question; type one")
    if len(text) > QUESTION:
        raise SpecError(f"the question has {len(text):,} characters; the limit is {QUESTION}")
    return text


def said(error: Exception) -> str:
    """An error in words for a visitor; the terminal gets the rest of an unexpected one."""
    if isinstance(error, ScopeError):
        return str(error)
    LOG.error("while answering the page", exc_info=error)
    return f"an unexpected error, {type(error).__name__}; the terminal of `scope demo` shows more"


def _at(asked: Asked, budget: int) -> Asked:
    return replace(asked, budget=budget)
