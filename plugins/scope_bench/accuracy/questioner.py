"""Questions put to a model: with images encoded once if its adapter can reuse them, else by ordinary calls."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from scope_bench.accuracy.examples import Scene
from scope_bench.accuracy.methods import ORACLE, SHUFFLED, Method, Oracle
from scope_core import Pruner, Registry, Selection
from scope_core.adapters import Asked, Encoding, LoadedModel, Memo, Reader, point_of, reusable


@dataclass(frozen=True, eq=False)
class Answers:
    """The replies of a method about a scene.

    Attributes:
        replies: One reply for each question.
        selection: The selected tokens; None without an image.
        select_ms: Wall time of selecting; None if nothing was selected.
    """

    replies: list[str]
    selection: Selection | None = None
    select_ms: float | None = None


class Questioner:
    """Puts questions to a model through its adapter.

    Args:
        loaded: The model with its processor.
        pruners: All pruners of the benchmark.
        registry: The registry that names are looked up in.
        memo: Cache of the tower's outputs; None for no cache.
        batch: Largest number of prompts per call.
        length: Largest number of new tokens per reply.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        pruners: Sequence[Pruner],
        registry: Registry,
        *,
        memo: Memo | None,
        batch: int,
        length: int,
    ) -> None:
        self.loaded, self.registry, self.memo, self.batch, self.length = loaded, registry, memo, batch, length
        self.reusing = {id(pruner) for pruner in pruners if reusable(pruner, loaded.model)}
        needs: dict[str, set[str]] = {}
        likes: dict[str, Pruner] = {}
        for pruner in pruners:
            if id(pruner) in self.reusing:
                likes.setdefault(point_of(pruner), pruner)
                needs.setdefault(point_of(pruner), set()).update(pruner.needs)
        self.readers = {point: Reader(like, frozenset(needs[point])) for point, like in likes.items()}
        self.encoded: dict[tuple[str, str], Encoding] = {}
        self.prompts: dict[str, list[dict[str, Any]]] = {}

    def forget(self) -> None:
        """Drop the encodings and prompts of finished scenes."""
        self.encoded.clear()
        self.prompts.clear()

    def inputs(self, scene: Scene, questions: int | None = None) -> list[dict[str, Any]]:
        """Arguments of ``generate`` for all of the scene's questions, or for the first ``questions``."""
        prompts = self.prompts.setdefault(scene.example.id, [])
        wanted = scene.example.questions[:questions]
        prompts += [self.loaded.inputs([scene.image], question.text) for question in wanted[len(prompts) :]]
        return prompts[: len(wanted)]

    def encode(self, scene: Scene, pruner: Pruner) -> Encoding:
        """The scene's encoded image, for all pruners at the same point as ``pruner``."""
        key = (scene.example.id, point_of(pruner))
        if key not in self.encoded:
            with self.readers[key[1]].attach(self.loaded.model) as pruning:
                self.encoded[key] = pruning.encode(self.inputs(scene, 1)[0], memo=self.memo)
        return self.encoded[key]

    def ask(self, method: Method, scenes: Sequence[Scene], donors: Sequence[Scene]) -> list[Answers]:
        """The method's answers about each scene; the shuffled run shows the images of ``donors`` instead."""
        if method.pruner is None:
            return self._without_image(scenes)
        shown_scenes = donors if method.name == SHUFFLED else scenes
        pairs = list(zip(scenes, shown_scenes, strict=True))
        if id(method.pruner) not in self.reusing:
            return [self._by_generate(method.pruner, scene, shown) for scene, shown in pairs]
        chosen: list[tuple[Encoding, Selection, float]] = []
        asked: list[Asked] = []
        for scene, shown in pairs:
            encoding = self.encode(shown, method.pruner)
            pruner = self.specialised(method, scene, encoding)
            start = time.perf_counter()
            selection = pruner.prune(encoding.tokens, encoding.layout)
            chosen.append((encoding, selection, (time.perf_counter() - start) * 1e3))
            asked += [Asked(inputs, encoding, selection) for inputs in self.inputs(scene)]
        replies = iter(self._answers(method.pruner, asked))
        return [
            Answers([next(replies) for _ in scene.example.questions], selection, elapsed)
            for scene, (_, selection, elapsed) in zip(scenes, chosen, strict=True)
        ]

    def specialised(self, method: Method, scene: Scene, encoding: Encoding) -> Pruner:
        """The method's pruner; the label oracle gets the places of this scene's objects."""
        if method.name != ORACLE:
            return method.pruner  # type: ignore[return-value]
        shares = scene.shares(encoding.tokens)
        no_objects = torch.zeros(1, encoding.tokens.shape[1])
        return Oracle(
            0 if method.keep is None else method.keep, no_objects if shares is None else shares, self.registry
        )

    def first_token_ms(self, method: Method, scene: Scene) -> float | None:
        """Milliseconds from selected tokens to the first new one, for one prompt; None if encodings are not reused."""
        if method.pruner is None or id(method.pruner) not in self.reusing or method.name == ORACLE:
            return None
        encoding = self.encode(scene, method.pruner)
        selection = method.pruner.prune(encoding.tokens, encoding.layout)
        asked = [Asked(self.inputs(scene, 1)[0], encoding, selection)]
        with method.pruner.attach(self.loaded.model) as pruning:
            start = time.perf_counter()
            pruning.answer(asked, max_new_tokens=1)
            return (time.perf_counter() - start) * 1e3

    def _answers(self, pruner: Pruner, asked: Sequence[Asked]) -> list[str]:
        replies: list[str] = []
        with pruner.attach(self.loaded.model) as pruning:
            for start in range(0, len(asked), self.batch):
                ids = pruning.answer(asked[start : start + self.batch], max_new_tokens=self.length)
                replies += [self.loaded.decode(row) for row in ids]
        return replies

    def _without_image(self, scenes: Sequence[Scene]) -> list[Answers]:
        """Answers to the questions without their image."""
        prompts = [self.loaded.inputs([], question.text) for scene in scenes for question in scene.example.questions]
        if self.reusing:
            replies = iter(self._answers(next(iter(self.readers.values())), [Asked(inputs) for inputs in prompts]))
        else:
            replies = iter([self._generate(inputs) for inputs in prompts])
        return [Answers([next(replies) for _ in scene.example.questions]) for scene in scenes]

    def _by_generate(self, pruner: Pruner, scene: Scene, shown: Scene) -> Answers:
        """Answers by an ordinary call of ``generate`` for each question."""
        replies, receipt = [], None
        for question in scene.example.questions:
            inputs = self.loaded.inputs([shown.image], question.text)
            with pruner.attach(self.loaded.model) as pruning:
                replies.append(self._generate(inputs))
                receipt = pruning.receipt
        return Answers(replies, receipt.selection if receipt else None, receipt.select_ms if receipt else None)

    def _generate(self, inputs: dict[str, Any]) -> str:
        with torch.no_grad():
            out = self.loaded.model.generate(**inputs, max_new_tokens=self.length, do_sample=False)
        return self.loaded.decode(out[0, inputs["input_ids"].shape[1] :])
