"""The curve of theta-coverage over budget."""

from __future__ import annotations

from typing import Any

import gradio as gr

from scope_demo.demo import Demo, said
from scope_demo.page.inputs import Inputs
from scope_demo.page.markup import alert, curve


class Curve:
    """The curve.

    Args:
        demo: What the page asks.
        inputs: The controls.
    """

    def __init__(self, demo: Demo, inputs: Inputs) -> None:
        self.demo, self.inputs = demo, inputs
        self.curve = gr.HTML("", elem_id="curve", min_height=120)

    def show(self, *values: Any) -> str:
        """The curve and its numbers."""
        asked = self.inputs.asked_of(*values)
        try:
            address, rows, texts = self.demo.curve(asked)
        except Exception as error:
            return alert(said(error))
        return curve(address, rows, asked.theta, texts)
