"""The left column: image, question, methods and budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from scope_core import ScopeError
from scope_demo.demo import MOST, QUESTION, Asked, Demo, said
from scope_demo.page.markup import alert, notes

LEAST, FIRST, LARGEST = 16, 64, 576
"""Smallest budget, the one at first, and the largest before an image's tokens are counted."""
THUMBNAIL = 160


class Inputs:
    """The controls that a visitor sets first, and what they stand for.

    Args:
        demo: What the page asks.
    """

    def __init__(self, demo: Demo) -> None:
        self.demo = demo
        first = next(iter(demo.shipped.values()), None)
        self.budget = self.slider()
        self.photo = gr.State({"key": "" if first is None else first.key, "title": ""})
        self.specs = gr.State({})
        self.asked = gr.State(first.questions[0][0] if first is not None and first.questions else "")
        self.image = gr.Image(
            None if first is None else first.image,
            label="Your image: drop, paste or choose a file",
            type="filepath",
            format="jpeg",
            sources=["upload", "clipboard"],
            height=310,
            buttons=[],
            elem_id="image",
        )
        self.image.preprocess = path_of
        fetch_nothing(self.image)
        self.alert = gr.HTML("", elem_id="image-alert")
        self.gallery = gr.Gallery(
            [(_thumbnail(photo.image), photo.title) for photo in demo.shipped.values()],
            label="Or one of these",
            columns=3,
            height=230,
            object_fit="cover",
            allow_preview=False,
            interactive=False,
            buttons=[],
            elem_id="gallery",
        )
        if demo.subject.answers:
            self._question(first.questions if first is not None else ())
        self.methods = gr.Dropdown(
            demo.recipes,
            value=demo.first,
            multiselect=True,
            max_choices=MOST,
            label=f"Methods (up to {MOST})",
            elem_id="methods",
        )
        self.theta = gr.Slider(
            0.5, 0.95, 0.8, step=0.05, label="Cosine from which a patch counts as covered", buttons=[]
        )
        self.order = gr.Checkbox(False, label="Colour the outlines by the order of the picks")
        self.gallery.select(
            self.pick, None, [self.photo, self.alert, self.image, *self.suggested], show_progress="hidden"
        )
        self.image.upload(self.receive, [self.image, self.photo], [self.photo, self.alert, self.image, *self.suggested])

    def slider(self) -> gr.Slider:
        """The budget, above the figures that it changes."""
        return gr.Slider(
            LEAST, LARGEST, FIRST, step=1, label="Budget: tokens to keep", buttons=[], elem_id="budget", render=False
        )

    def _question(self, questions: Any) -> None:
        self.question = gr.Textbox(
            questions[0][0] if questions else "",
            label="Question",
            max_length=QUESTION,
            lines=1,
            submit_btn="Ask",
            elem_id="question",
        )
        self.suggestions = gr.Dataset(
            components=[self.question],
            samples=_samples(questions),
            label="Questions to try",
            type="values",
            elem_id="suggestions",
        )
        self.question.submit(lambda text: text, self.question, self.asked, show_progress="hidden")
        self.suggestions.click(
            lambda row: (row[0], row[0]), self.suggestions, [self.question, self.asked], show_progress="hidden"
        )

    @property
    def suggested(self) -> list[Any]:
        """Components that change with the image's questions."""
        return [self.question, self.suggestions, self.asked] if self.demo.subject.answers else []

    @property
    def all(self) -> list[Any]:
        """The components whose values `asked_of` takes."""
        return [self.photo, self.methods, self.budget, self.asked, self.specs, self.theta, self.order]

    def asked_of(
        self, photo: Any, methods: Any, budget: Any, question: Any, specs: Any, theta: Any, order: Any
    ) -> Asked:
        """What the components' values stand for."""
        return Asked(
            photo=photo["key"],
            title=photo["title"],
            methods=tuple(methods or ()),
            budget=int(budget),
            question=str(question or ""),
            specs=specs or {},
            theta=float(theta),
            order=bool(order),
        )

    def pick(self, event: gr.SelectData) -> list[Any]:
        """Take a shipped image."""
        photo = list(self.demo.shipped.values())[event.index]
        return [{"key": photo.key, "title": ""}, "", photo.image, *self._suggest(photo.questions)]

    def receive(self, path: str | None, before: dict[str, str]) -> list[Any]:
        """Take an uploaded image, or say what is wrong with it and go back to the one before."""
        try:
            photo = self.demo.photo(path or "", Path(path or "").name)
        except (ScopeError, OSError) as error:
            return [before, alert(said(error)), self._shown(before), *[gr.skip() for _ in self.suggested]]
        found = {"key": path, "title": photo.title}
        return [found, notes(photo.notes), gr.skip(), *self._suggest(photo.questions)]

    def _shown(self, photo: dict[str, str]) -> Any:
        """The image that was shown before; none if it is gone."""
        try:
            return self.demo.photo(photo["key"], photo["title"]).image
        except (ScopeError, OSError):
            return None

    def _suggest(self, questions: Any) -> list[Any]:
        if not self.demo.subject.answers:
            return []
        first = questions[0][0] if questions else ""
        return [first, gr.Dataset(samples=_samples(questions)), first]


def path_of(upload: Any) -> str | None:
    """The path of an uploaded file as it came: the loader reads it, within limits, and says what is wrong with it."""
    return None if upload is None else upload.path


def fetch_nothing(component: Any) -> None:
    """Make a component refuse addresses: Gradio would download a file that a request names by its address."""
    keep = component.async_move_resource_to_block_cache

    async def kept(name: Any) -> Any:
        if "://" in str(name):
            raise gr.Error("files are uploaded, not fetched from an address")
        return await keep(name)

    component.async_move_resource_to_block_cache = kept


def _samples(questions: Any) -> list[list[str]]:
    return [[text] for text, _ in questions]


def _thumbnail(image: Any) -> Any:
    small = image.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return small
