"""`ModelSubject`: a multimodal model, which shows selections and answers questions."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch

from scope_core import AttachError, Pruner, Registry, Selection, VisualTokens
from scope_core.adapters import Asked, Encoding, LoadedModel, Reader, find_adapter, point_of, reusable
from scope_demo.recent import Recent
from scope_demo.subject import CHOSEN, LENGTH, Answer, Chosen, Photo, Subject

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGES = 8
"""Images whose encodings are remembered."""


class ModelSubject(Subject):
    """A multimodal model.

    Args:
        loaded: The model.
        registry: The registry that names are looked up in.
    """

    answers = True

    def __init__(self, loaded: LoadedModel, registry: Registry) -> None:
        super().__init__(loaded.name, registry, loaded.notes)
        self.loaded = loaded
        self.encodings: Recent[tuple[Encoding, frozenset[str], float]] = Recent(IMAGES)
        self.replies: Recent[Answer] = Recent(CHOSEN)
        self.run = False

    def check(self, pruner: Pruner) -> None:
        """Raise a `ScopeError` if the model cannot be pruned so."""
        pruner.check(self.loaded.model)

    def view(self, image: Image) -> Image | list[Image] | None:
        """The image as the model's tower sees it; None if the model does not say."""
        return None if self.loaded.view is None else self.loaded.view(image)

    def inside(self, pruner: Pruner) -> bool:
        """True if a selection needs a call of the model: it prunes inside the language model, or reads the question."""
        return not reusable(pruner, self.loaded.model)

    def point(self, pruner: Pruner) -> str:
        """The interception point, with everything else that an encoding depends on."""
        return point_of(pruner)

    def choose(self, photo: Photo, pruner: Pruner, question: str) -> Chosen:
        """The pruner's selection."""
        self.check(pruner)
        if self.inside(pruner):
            return self._chosen_in_call(photo, pruner, question)
        encoding, ms = self._encoding(photo, pruner)
        selection, select_ms = self.timed(photo, pruner, encoding.tokens, encoding.layout)
        return Chosen(selection, select_ms, ms, self._judged(photo, encoding.tokens))

    def _chosen_in_call(self, photo: Photo, pruner: Pruner, question: str) -> Chosen:
        inputs = self.loaded.inputs([photo.image], question)
        with self.lock, pruner.attach(self.loaded.model) as pruning:
            self.loaded.model.generate(**inputs, max_new_tokens=1, do_sample=False)
            receipt = pruning.receipt
        if receipt.selection is None:
            raise AttachError(f"{self.name} was called, but {pruner.label} selected nothing")
        return Chosen(receipt.selection, receipt.select_ms, None, self._judged(photo, receipt.selection.tokens))

    def _judged(self, photo: Photo, tokens: VisualTokens) -> VisualTokens:
        """Tokens at the first point, if there are as many; else the method's own."""
        first = Reader(Pruner({"budget": 1}, registry=self.registry), frozenset())
        if not find_adapter(self.loaded.model, first).reuses:
            return tokens
        judged = self._encoding(photo, first)[0].tokens
        return judged if judged.shape[:2] == tokens.shape[:2] else tokens

    def _encoding(self, photo: Photo, pruner: Pruner) -> tuple[Encoding, float]:
        """The encoded image with all signals that any method asked for, and the time in ms."""
        point = point_of(pruner)

        def encode() -> tuple[Encoding, frozenset[str], float]:
            wanted = self.needs[point] = self.needs.get(point, frozenset()) | pruner.needs
            inputs = self.loaded.inputs([photo.image], "")
            with self.lock, Reader(pruner, wanted).attach(self.loaded.model) as pruning:
                start = time.perf_counter()
                encoding = pruning.encode(inputs)
            return encoding, wanted, (time.perf_counter() - start) * 1e3

        found = self.encodings.get((photo.key, point), encode, fresh=lambda one: pruner.needs <= one[1])
        return found[0], found[2]

    def answer(self, photo: Photo, pruner: Pruner | None, question: str) -> Answer:
        """The model's answer with the pruner's tokens, or with all; remembered."""
        key = (photo.key, None if pruner is None else pruner.spec, question)
        return self.replies.get(key, lambda: self._answer(photo, pruner, question))

    def _answer(self, photo: Photo, pruner: Pruner | None, question: str) -> Answer:
        inputs = self.loaded.inputs([photo.image], question)
        given = pruner or Reader(Pruner({"budget": 1}, registry=self.registry), frozenset())
        if self.inside(given):
            return self._answer_in_call(inputs, pruner)
        encoding, _ = self._encoding(photo, given)
        selection = everything(encoding.tokens) if pruner is None else self.select(photo, pruner).selection
        asked = [Asked(inputs, encoding, selection)]
        with self.lock, given.attach(self.loaded.model) as pruning:
            if not self.run:  # the first call of a process is slower than all later ones
                pruning.answer(asked, max_new_tokens=1)
                self.run = True
            start = time.perf_counter()
            (ids,) = pruning.answer(asked, max_new_tokens=LENGTH)
            ms = (time.perf_counter() - start) * 1e3
        dropped = sum(image.tokens for image in encoding.layout.images) - sum(selection.row_counts)
        return Answer(self.loaded.decode(ids), sum(selection.row_counts), _length(inputs) - dropped, ms, tower=False)

    def _answer_in_call(self, inputs: dict[str, Any], pruner: Pruner | None) -> Answer:
        """The answer by an ordinary call of ``generate``."""
        with self.lock, ExitStack() as stack:
            pruning = None if pruner is None else stack.enter_context(pruner.attach(self.loaded.model))
            start = time.perf_counter()
            ids = self.loaded.model.generate(**inputs, max_new_tokens=LENGTH, do_sample=False)
            ms = (time.perf_counter() - start) * 1e3
            receipt = None if pruning is None else pruning.receipt
        text, length = self.loaded.decode(ids[0, _length(inputs) :]), _length(inputs)
        if receipt is None:
            return Answer(text, None, length, ms, tower=True)
        return Answer(text, receipt.kept, length - receipt.tokens + receipt.kept, ms, tower=True)


def everything(tokens: VisualTokens) -> Selection:
    """The selection of every valid token, in raster order."""
    count = tokens.shape[1]
    index = torch.arange(count, device=tokens.device).expand(tokens.shape[:2])
    picks = index.masked_fill(~tokens.valid, count).sort(1).values
    undefined = torch.full(picks.shape, torch.nan, device=tokens.device)
    return Selection(picks=picks.masked_fill(picks == count, -1), gains=undefined, scores=undefined, tokens=tokens)


def _length(inputs: dict[str, Any]) -> int:
    """Number of tokens in a prompt, all visual tokens included."""
    return int(inputs["input_ids"].shape[1])
