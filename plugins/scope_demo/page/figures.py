"""The figures of the methods, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from scope_demo.demo import Demo, said
from scope_demo.page.inputs import LEAST, Inputs
from scope_demo.page.markup import alert

SCRIPT = Path(__file__).parent / "figures.js"
TEMPLATE = """
<div class="sd-figures"></div>
<div class="sd-player" hidden>
  <button type="button">Play the order of the picks</button>
  <label>Picks shown <input type="range" min="0" max="0" step="1" value="0"></label>
  <output></output>
</div>
<ul class="sd-found" aria-live="polite"></ul>
"""
"""Static: texts are put in by the script, as text."""


class Figures:
    """The figures.

    Args:
        demo: What the page asks.
        inputs: The controls.
    """

    def __init__(self, demo: Demo, inputs: Inputs) -> None:
        self.demo, self.inputs = demo, inputs
        self.alert = gr.HTML("", elem_id="alert")
        self.figures = gr.HTML(
            {"figures": []},
            html_template=TEMPLATE,
            js_on_load=SCRIPT.read_text(encoding="utf-8"),
            elem_id="figures",
            min_height=320,
        )

    @property
    def outputs(self) -> list[Any]:
        """The components that `show` sets."""
        return [self.figures, self.alert, self.inputs.budget]

    def show(self, request: gr.Request, *values: Any) -> tuple[Any, Any, Any]:
        """The figures, a message, and the slider for the tokens that the image has."""
        asked = self.inputs.asked_of(*values)
        self.demo.turn(request.session_hash, more=1)
        try:
            found = self.demo.figures(asked)
        except Exception as error:
            return gr.skip(), alert(said(error)), gr.skip()
        tokens = max((one["tokens"] for one in found["figures"] if "tokens" in one), default=0)
        slider = gr.skip()
        if tokens > LEAST and tokens != self.demo.largest.get(asked.photo):
            self.demo.largest[asked.photo] = tokens
            slider = gr.Slider(maximum=tokens, value=min(asked.budget, tokens))
        return found, "", slider
