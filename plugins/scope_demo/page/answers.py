"""The answers with all tokens and with each method's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from scope_demo.demo import Demo, said
from scope_demo.page.inputs import Inputs
from scope_demo.page.markup import alert, answers


class Answers:
    """The table of answers.

    Args:
        demo: What the page asks.
        inputs: The controls.
    """

    def __init__(self, demo: Demo, inputs: Inputs) -> None:
        self.demo, self.inputs = demo, inputs
        self.table = gr.HTML("", elem_id="answers", min_height=120)

    def show(self, request: gr.Request, *values: Any) -> Iterator[str]:
        """The table, row by row; ends early when the visitor has set something else meanwhile."""
        asked = self.inputs.asked_of(*values)
        number = self.demo.turn(request.session_hash)
        try:
            right = dict(self.demo.photo(asked.photo, asked.title).questions).get(asked.question.strip(), "")
            for rows in self.demo.answers(asked):
                waiting = len(asked.methods) + 1 - len(rows)
                yield answers(rows, asked.question, right, waiting=waiting)
                if self.demo.turn(request.session_hash) != number:
                    return
        except Exception as error:
            yield alert(said(error))
