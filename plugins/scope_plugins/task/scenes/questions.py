"""Questions about a scene, with answers that follow from its objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations, permutations
from pathlib import Path
from random import Random

from scope_core.tasks import Box, Question
from scope_plugins.task.scenes.classes import NAMES, PLURALS
from scope_plugins.task.scenes.compose import SIZE, plan
from scope_plugins.task.scenes.photographs import KINDS, Photograph

MARGIN = 10
"""Quadrants are asked about only if the centre is at least this far from both middle lines, in pixels."""
APART = 24
"""Left and right are asked about only if the centres are at least this far apart, in pixels."""
RATIO = 1.3
"""Sizes are compared only if the longer side of one object is at least this many times that of the other."""
MOST = 6
"""Largest count that is asked for."""

# The first wording is that of the test set; the second is the shortest.
WORDINGS: dict[str, tuple[str, ...]] = {
    "existence": (
        "Is there {a} {x} in the image?",
        "Is there {a} {x}?",
        "Is there {a} {x} in the picture?",
        "Is there {a} {x} in the photo?",
        "Do you see {a} {x}?",
        "Can you see {a} {x} in the image?",
        "Are there any {xs}?",
        "Does the image contain {a} {x}?",
    ),
    "count": (
        "How many {xs} are there in the image?",
        "How many {xs}?",
        "How many {xs} are there?",
        "How many {xs} are in the picture?",
        "How many {xs} can you see?",
        "Count the {xs}.",
    ),
    "where": (
        "Where is the {x}?",
        "Where is the {x}?",
        "Where is the {x} in the image?",
        "Where is the {x} in the picture?",
        "In which corner is the {x}?",
    ),
    "relation": (
        "Is the {x} {side} of the {y}?",
        "Is the {x} {side} of the {y}?",
        "Is the {x} to the {side} of the {y}?",
        "Is the {x} on the {side} of the {y}?",
    ),
    "size": (
        "Which is bigger, the {x} or the {y}?",
        "Which is bigger, the {x} or the {y}?",
        "Which is larger, the {x} or the {y}?",
        "What is bigger, the {x} or the {y}?",
    ),
    "background": (
        "What is in the background?",
        "What is the background?",
        "What is behind the objects?",
        "What kind of background is there?",
    ),
}
QUADRANTS = ("top-left", "top-right", "bottom-left", "bottom-right")


@lru_cache(maxsize=1)
def population() -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """The number of scenes, out of 2,000, that show each class and each ordered pair of classes."""
    alone: Counter[str] = Counter()
    together: Counter[tuple[str, str]] = Counter()
    blank = [Photograph(Path("blank"))]
    for index in range(2000):
        names = sorted({o.label for o in plan(f"population:{index}", blank).objects})
        alone.update(names)
        together.update(permutations(names, 2))
    return alone, together


def absent(present: Sequence[str], split: str, random: Random, hidden: Sequence[str] = ()) -> str:
    """A class that is not in the scene, chosen as in POPE's splits (arXiv 2305.10355, section 4.1).

    Args:
        present: Classes in the scene.
        split: ``"random"``; ``"popular"``: one of the ten most frequent; ``"adversarial"``: one of the five that
            most often appear together with those present.
        random: Random generator.
        hidden: Classes to leave out.
    """
    names = [name for name in NAMES if name not in present and name not in hidden]
    alone, together = population()
    if split == "popular":
        names = sorted(names, key=lambda name: -alone[name])[:10]
    elif split == "adversarial":
        names = sorted(names, key=lambda name: -sum(together[shown, name] for shown in set(present)))[:5]
    return random.choice(names)


class Asker:
    """Questions of one scene, collected in ``made``.

    Args:
        key: Prefix of the questions' ids.
        boxes: The objects.
        photograph: The background.
        random: Random generator for objects and wordings.
        wording: ``"test"``, ``"short"`` or ``"varied"``.
    """

    def __init__(
        self, key: str, boxes: Sequence[Box], photograph: Photograph, random: Random, wording: str = "test"
    ) -> None:
        self.key, self.boxes, self.photograph, self.random, self.wording = key, boxes, photograph, random, wording
        self.counts = Counter(box.label for box in boxes)
        self.single = {box.label: box for box in boxes if self.counts[box.label] == 1}
        self.made: list[Question] = []

    def existence(self, name: str, answer: bool, *tags: str) -> None:
        """Add: is it in the scene?"""
        size = max(_side(box) for box in self.boxes if box.label == name) if answer else None
        self._add("existence", "yes" if answer else "no", ("yes", "no"), size, tags, x=name)

    def count(self, name: str) -> None:
        """Add: how many are in the scene?"""
        size = min((_side(box) for box in self.boxes if box.label == name), default=None)
        self._add("count", str(self.counts[name]), tuple(map(str, range(MOST + 1))), size, x=name)

    def where(self, name: str) -> None:
        """Add: in which quadrant is its centre?"""
        self._add("where", quadrant(self.single[name]), QUADRANTS, _side(self.single[name]), x=name)

    def relation(self, name: str, other: str) -> None:
        """Add: is one left (or right) of the other?"""
        one, two, side = self.single[name], self.single[other], self.random.choice(("left", "right"))
        holds = (_centre(one)[0] < _centre(two)[0]) == (side == "left")
        answer = "yes" if holds else "no"
        self._add("relation", answer, ("yes", "no"), min(_side(one), _side(two)), x=name, y=other, side=side)

    def bigger(self, name: str, other: str) -> None:
        """Add: which of two is bigger, by the longer side?"""
        one, two = self.single[name], self.single[other]
        answer = name if _side(one) > _side(two) else other
        self._add("size", answer, (name, other), min(_side(one), _side(two)), x=name, y=other)

    def background(self) -> None:
        """Add: which kind of background is it?"""
        if self.photograph.kind is not None:
            self._add("background", self.photograph.kind, KINDS, None)

    @property
    def placed(self) -> list[str]:
        """Classes with one object, which is clearly in a quadrant."""
        return [name for name, box in self.single.items() if min(abs(at - SIZE / 2) for at in _centre(box)) >= MARGIN]

    @property
    def beside(self) -> list[tuple[str, str]]:
        """Pairs of objects that are clearly left and right of each other."""
        return [
            (one, two)
            for one, two in combinations(self.single, 2)
            if abs(_centre(self.single[one])[0] - _centre(self.single[two])[0]) >= APART
        ]

    @property
    def unequal(self) -> list[tuple[str, str]]:
        """Pairs of objects of which one is clearly bigger."""
        sides = {name: _side(box) for name, box in self.single.items()}
        pairs = combinations(sides, 2)
        return [(a, b) for a, b in pairs if max(sides[a], sides[b]) >= RATIO * min(sides[a], sides[b])]

    def _add(
        self,
        kind: str,
        answer: str,
        choices: tuple[str, ...],
        size: float | None,
        tags: tuple[str, ...] = (),
        **words: str,
    ) -> None:
        wordings = WORDINGS[kind]
        text = {"test": wordings[0], "short": wordings[1]}.get(self.wording) or self.random.choice(wordings)
        name = words.get("x", "")
        words.update(a="an" if name[:1] in "aeiou" else "a", xs=PLURALS.get(name, ""))
        key = f"{self.key}/{len(self.made)}"
        self.made.append(Question(key, text.format(**words), answer, kind, choices, size, tags))


def chosen(asker: Asker) -> tuple[Question, ...]:
    """About twelve questions: existence in POPE's three splits (a yes and a no each), and some of each other kind."""
    random, names = asker.random, sorted(asker.counts)
    hidden = asker.photograph.shows
    there = random.sample(names, min(3, len(names)))
    for index, split in enumerate(("random", "popular", "adversarial")):
        asker.existence(there[index % len(there)], True, split)
        asker.existence(absent(names, split, random, hidden), False, split)
    many = [name for name in names if 1 < asker.counts[name] <= MOST]
    singles = list(asker.single)
    # first a class with several objects, or else the answer 1 would always be right
    for pool in (many, singles if random.random() < 0.5 else many, singles):
        if pool and (pool is many or random.random() < 0.7):
            asker.count(random.choice(pool))
    if random.random() < 0.25:
        asker.count(absent(names, "random", random, hidden))
    for name in random.sample(asker.placed, min(2, len(asker.placed))):
        asker.where(name)
    for pair in random.sample(asker.beside, min(2, len(asker.beside))):
        asker.relation(*random.sample(pair, 2))
    for pair in random.sample(asker.unequal, min(1, len(asker.unequal))):
        asker.bigger(*random.sample(pair, 2))
    asker.background()
    return _unique(asker.made)


def everything(asker: Asker) -> tuple[Question, ...]:
    """All questions that a scene allows (at most sixteen relations and eight comparisons), for training."""
    random, names, hidden = asker.random, sorted(asker.counts), asker.photograph.shows
    for name in names:
        asker.existence(name, True)
        if asker.counts[name] <= MOST:
            asker.count(name)
    for split in ("random", "popular", "adversarial"):
        for _ in range(1 + len(names) // 2):
            asker.existence(absent(names, split, random, hidden), False, split)
    for _ in range(2):
        asker.count(absent(names, random.choice(("random", "adversarial")), random, hidden))
    for name in asker.placed:
        asker.where(name)
    for pair in random.sample(asker.beside, min(16, len(asker.beside))):
        asker.relation(*random.sample(pair, 2))
    for pair in random.sample(asker.unequal, min(8, len(asker.unequal))):
        asker.bigger(*random.sample(pair, 2))
    asker.background()
    return _unique(asker.made)


def quadrant(box: Box) -> str:
    """The quadrant of a box's centre."""
    x, y = _centre(box)
    return f"{'top' if y < SIZE / 2 else 'bottom'}-{'left' if x < SIZE / 2 else 'right'}"


def _unique(questions: Sequence[Question]) -> tuple[Question, ...]:
    seen: dict[tuple[str, str, tuple[str, ...]], Question] = {}
    for question in questions:
        seen.setdefault((question.text, question.answer, question.tags), question)
    return tuple(seen.values())


def _side(box: Box) -> float:
    return max(box.x1 - box.x0, box.y1 - box.y0)


def _centre(box: Box) -> tuple[float, float]:
    return (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
