"""The page as a whole: sections in their order, and which control reruns what."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from scope_demo.demo import Demo
from scope_demo.page.answers import Answers
from scope_demo.page.curve import Curve
from scope_demo.page.editor import Editor
from scope_demo.page.figures import Figures
from scope_demo.page.inputs import Inputs
from scope_demo.page.markup import refused

HERE = Path(__file__).parent
SESSION = 3600
"""Seconds that a visitor's uploads are kept."""


def theme() -> gr.themes.Base:
    """The theme; its fonts are the browser's own, so that none is fetched."""
    chosen = gr.themes.Default(
        font=["system-ui", "-apple-system", "Segoe UI", "sans-serif"],
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
        primary_hue="blue",
        neutral_hue="slate",
    )
    dim = {"body_text_color_subdued": "*neutral_600", "block_info_text_color": "*neutral_600"}
    dim |= {
        "color_accent": "*primary_600",
        "block_label_text_color": "*neutral_700",
        "block_title_text_color": "*neutral_700",
    }
    light = {f"{name}_dark": "*neutral_300" for name in dim if name != "color_accent"}
    return chosen.set(**dim, **light)  # Gradio's own greys have too little contrast to be read by everybody


def css() -> str:
    """The style sheet."""
    return (HERE / "page.css").read_text(encoding="utf-8")


def build(demo: Demo) -> gr.Blocks:
    """The page."""
    with gr.Blocks(
        title="scope demo", analytics_enabled=False, delete_cache=(SESSION // 6, SESSION), fill_width=True
    ) as page:
        gr.HTML(header(demo))
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                inputs = Inputs(demo)
            with gr.Column(scale=3, min_width=300):
                inputs.budget.render()
                figures = Figures(demo, inputs)
                with gr.Tabs():
                    if demo.subject.answers:
                        with gr.Tab("Answers"):
                            answers = Answers(demo, inputs)
                    with gr.Tab("Coverage over budget"):
                        curve = Curve(demo, inputs)
                    with gr.Tab("Edit a method"):
                        editor = Editor(demo, inputs)
                    if demo.refused:
                        with gr.Tab(f"Not available here ({len(demo.refused)})"):
                            gr.HTML(refused(demo.refused))
        wire(page, inputs, figures, answers if demo.subject.answers else None, curve, editor)
    return page


def wire(
    page: gr.Blocks, inputs: Inputs, figures: Figures, answers: Answers | None, curve: Curve, editor: Editor
) -> None:
    """Which control reruns what: figures first, since only selection runs, then answers and the curve."""
    changes = [one.change for one in (inputs.photo, inputs.methods, inputs.budget, inputs.asked, inputs.specs)]
    changes += [page.load, inputs.theta.change, inputs.order.change]
    latest: dict[str, Any] = {"trigger_mode": "always_last", "show_progress": "hidden", "api_visibility": "private"}
    shown = gr.on(changes, figures.show, inputs.all, figures.outputs, concurrency_limit=4, **latest)
    if answers is not None:
        shown = shown.then(answers.show, inputs.all, answers.table, concurrency_limit=1, **latest)
    shown.then(curve.show, inputs.all, curve.curve, concurrency_limit=1, **latest)

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    rest = [inputs.specs, inputs.budget, inputs.photo, inputs.asked]
    opened = [editor.text, *editor.outputs]
    inputs.methods.change(choices, [inputs.methods, editor.name], editor.name, **quiet)
    gr.on([page.load, editor.name.change], editor.opened, [editor.name, *rest], opened, **quiet)
    editor.text.input(editor.typed, editor.given, editor.outputs, trigger_mode="always_last", **quiet)
    inputs.budget.input(editor.moved, editor.given, opened, trigger_mode="always_last", **quiet)
    editor.correct.click(editor.suggested, editor.given, opened, **quiet)
    editor.reset.click(editor.undone, [editor.name, *rest], opened, **quiet)
    new = [inputs.specs, inputs.methods, editor.name]
    editor.keep.click(editor.kept, [editor.name, editor.text, inputs.specs, inputs.methods], new, **quiet)
    editor.upload.upload(editor.received, [editor.upload, inputs.specs, inputs.methods], [*new, editor.wrong], **quiet)


def choices(methods: list[str], now: str | None) -> Any:
    """The methods that can be edited: those that are chosen."""
    return gr.Dropdown(methods, value=now if now in methods else next(iter(methods), None))


def header(demo: Demo) -> str:
    """Title, and what is shown."""
    subject = demo.subject
    about = f"Which visual tokens does each method keep, and what does {subject.name} answer with them?"
    if not subject.answers:
        about = f"Which visual tokens of {subject.name} does each method keep?"
    notes = f"<p>{escape(subject.notes)}</p>" if subject.notes else ""
    return f'<header class="sd-head"><h1>scope demo</h1><p>{escape(about)}</p>{notes}</header>'
