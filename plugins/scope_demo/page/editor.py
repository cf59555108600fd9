"""The editor of one method: its YAML, the controls of its options, and code to copy."""

from __future__ import annotations

from typing import Any

import gradio as gr

from scope_core import ScopeError, SpecError
from scope_core.commands import read_spec_text
from scope_demo.controls import Control, value_of
from scope_demo.demo import MOST, Demo, free_name, said
from scope_demo.page.inputs import LEAST, Inputs, fetch_nothing
from scope_demo.page.markup import alert, mistakes
from scope_demo.specs import Mistake, changed, corrected, pruner_of, python_of, shell_of, with_budget
from scope_demo.specs import mistakes as mistakes_of

MARK = """
const mark = () => {
  const lines = document.querySelectorAll("#spec .cm-line");
  const wrong = (element.querySelector("[data-lines]")?.dataset.lines || "").split(",").map(Number);
  lines.forEach((line, number) => line.classList.toggle("sd-wrong", wrong.includes(number + 1)));
};
watch("value", () => requestAnimationFrame(mark));
"""


class Editor:
    """The editor.

    Args:
        demo: What the page asks.
        inputs: The controls.
    """

    def __init__(self, demo: Demo, inputs: Inputs) -> None:
        self.demo, self.inputs = demo, inputs
        self.shape = gr.State({"text": ""})
        with gr.Row(elem_classes="sd-tools"):
            first = demo.first[0] if demo.first else None
            self.name = gr.Dropdown(demo.first, value=first, label="Method to edit", elem_id="editing")
            self.keep = gr.Button("Keep as a new method", size="sm", elem_id="keep")
            self.reset = gr.Button("Undo all changes", size="sm", elem_id="reset")
            self.upload = gr.UploadButton(
                "Upload a spec (YAML)", file_types=[".yaml", ".yml"], type="filepath", size="sm", elem_id="spec-upload"
            )
        fetch_nothing(self.upload)
        with gr.Row():
            with gr.Column(min_width=300):
                self.text = gr.Code(
                    "",
                    language="yaml",
                    label="Spec (YAML); the slider sets the budget",
                    lines=14,
                    interactive=True,
                    elem_id="spec",
                )
                self.wrong = gr.HTML("", js_on_load=MARK, elem_id="mistakes")
                self.correct = gr.Button("Put the suggestion in", visible=False, size="sm", elem_id="correct")
            with gr.Column(min_width=300), gr.Tabs():
                with gr.Tab("As Python"):
                    self.python = self._code_box("python")
                with gr.Tab("As shell"):
                    self.shell = self._code_box("shell")
        gr.Markdown("**Options** of this method's parts, and every part that is installed:")
        self._options()

    def _code_box(self, language: Any) -> gr.Code:
        return gr.Code(
            "",
            language=language,
            label=language.capitalize(),
            interactive=False,
            lines=11,
            buttons=["copy"],
            wrap_lines=True,
            show_line_numbers=False,
            elem_id=language,
        )

    @property
    def given(self) -> list[Any]:
        """The components that every handler reads."""
        return [self.name, self.text, self.inputs.specs, self.inputs.budget, self.inputs.photo, self.inputs.asked]

    @property
    def outputs(self) -> list[Any]:
        """The components that `checked` sets."""
        return [self.inputs.specs, self.inputs.budget, self.wrong, self.correct, self.python, self.shell, self.shape]

    def typed(self, name: str, text: str, *rest: Any) -> list[Any]:
        """What the visitor typed, checked."""
        return self.checked(name, text, *rest)

    def checked(
        self,
        name: str,
        text: str,
        specs: dict[str, str],
        budget: int,
        photo: dict[str, str],
        question: str,
        *,
        shape: bool = True,
    ) -> list[Any]:
        """A method's new YAML: taken over if it is right, else its mistakes.

        Args:
            name: The method.
            text: Its YAML.
            specs: The visitor's own specs.
            budget: The slider's value.
            photo: The image, for code to copy.
            question: The question, for code to copy.
            shape: False to keep the controls of options as they are.
        """
        try:
            written = read_spec_text(text, self.demo.registry)
            pruner = pruner_of(text, int(budget), self.demo.registry)
            self.demo.subject.check(pruner)
        except Exception as error:
            return self._with_mistakes(text, mistakes_of(said(error)))
        plain = name in self.demo.recipes and text == self.demo.text(name, {}, int(budget))
        specs = {**{one: old for one, old in specs.items() if one != name}, **({} if plain else {name: text})}
        keep = getattr(written.budget, "keep", None)
        here = keep if isinstance(keep, int) and LEAST <= keep != int(budget) else None
        code = self._code(pruner.spec, photo, question)
        turn = {"text": text} if shape else gr.skip()
        return [specs, gr.skip() if here is None else here, "", gr.Button(visible=False), *code, turn]

    def _with_mistakes(self, text: str, found: list[Mistake]) -> list[Any]:
        suggested = any(one.meant and one.line for one in found)
        return [gr.skip(), gr.skip(), mistakes(text, found), gr.Button(visible=suggested), *[gr.skip()] * 3]

    def _code(self, spec: Any, photo: dict[str, str], question: str) -> tuple[str, str]:
        try:
            image = self.demo.photo(photo["key"], photo["title"]).typed
        except Exception:
            image = "photo.jpg"
        about: dict[str, Any] = {"subject": self.demo.subject.name, "answers": self.demo.subject.answers}
        about.update(image=image, question=question or "What is this?")
        return python_of(spec, self.demo.registry, **about), shell_of(spec, self.demo.registry, **about)

    def opened(self, name: str | None, specs: dict[str, str], budget: int, *rest: Any) -> list[Any]:
        """A method's YAML, and everything that goes with it."""
        if name is None:
            return [gr.skip()] * (1 + len(self.outputs))
        try:
            text = self.demo.text(name, specs, int(budget))
        except Exception as error:
            return [gr.skip(), *self._with_mistakes("", [Mistake(said(error))])]
        return [text, *self.checked(name, text, specs, budget, *rest)]

    def moved(self, name: str, text: str, specs: dict[str, str], budget: int, *rest: Any) -> list[Any]:
        """The YAML with the slider's budget."""
        new = with_budget(text, int(budget))
        return [new, *self.checked(name, new, specs, budget, *rest, shape=False)]

    def suggested(self, name: str, text: str, *rest: Any) -> list[Any]:
        """The YAML with the suggestions put in."""
        try:
            read_spec_text(text, self.demo.registry)
        except SpecError as error:
            text = corrected(text, mistakes_of(str(error)))
        return [text, *self.checked(name, text, *rest)]

    def kept(self, name: str, text: str, specs: dict[str, str], methods: list[str]) -> list[Any]:
        """The YAML as a method of its own beside the one it came from."""
        new = free_name(name, [*self.demo.recipes, *specs])
        others = {one: old for one, old in specs.items() if one != name or name not in self.demo.recipes}
        return self.with_method(new, {**others, new: text}, methods)

    def with_method(self, new: str, specs: dict[str, str], methods: list[str]) -> list[Any]:
        """A new method: specs, the choice of methods, and the choice of what is edited."""
        chosen = [*methods, new][-MOST:]
        every = [*self.demo.recipes, *(name for name in specs if name not in self.demo.recipes)]
        return [specs, gr.Dropdown(every, value=chosen), gr.Dropdown(chosen, value=new)]

    def undone(self, name: str, specs: dict[str, str], budget: int, *rest: Any) -> list[Any]:
        """A recipe as it was before the visitor changed it."""
        specs = {one: old for one, old in specs.items() if one != name or name not in self.demo.recipes}
        return self.opened(name, specs, budget, *rest)

    def received(self, path: str, specs: dict[str, str], methods: list[str]) -> list[Any]:
        """An uploaded spec as a method of its own; its mistakes are shown in the editor."""
        try:
            new, text = self.demo.uploaded_spec(path, [*self.demo.recipes, *specs])
        except Exception as error:
            return [gr.skip(), gr.skip(), gr.skip(), alert(said(error))]
        return [*self.with_method(new, {**specs, new: text}, methods), ""]

    def _options(self) -> None:
        """The controls of the options, made anew when the spec gets other parts."""

        @gr.render(  # type: ignore[untyped-decorator, unused-ignore]
            inputs=[self.shape], triggers=[self.shape.change], show_progress="hidden"
        )
        def render(shape: dict[str, Any]) -> None:
            try:
                spec = read_spec_text(shape["text"], self.demo.registry)
            except ScopeError:
                return
            with gr.Row(elem_id="options"):
                for control in self.demo.controls.of(spec):
                    self._option(control)

    def _option(self, control: Control) -> None:
        """One control; typed ones take effect when they are left, or on Enter."""
        part = component_of(control)
        typed = control.kind in ("yaml", "number", "integer")
        gr.on(
            [part.blur, part.submit] if typed else [part.input],
            self._setter(control),
            [part, *self.given],
            [self.text, *self.outputs],
            show_progress="hidden",
            api_visibility="private",
        )

    def _setter(self, control: Control) -> Any:
        def set_option(value: Any, name: str, text: str, *rest: Any) -> list[Any]:
            try:
                new = changed(text, control.path, value_of(control, value), self.demo.registry)
            except Exception as error:
                return [gr.skip(), *self._with_mistakes(text, mistakes_of(said(error)))]
            return [new, *self.checked(name, new, *rest, shape=control.kind == "part")]

        return set_option


def component_of(control: Control) -> Any:
    """The component of a control."""
    shown: dict[str, Any] = {"label": control.label, "info": control.about, "min_width": 220, "interactive": True}
    if control.kind in ("part", "choice"):
        return gr.Dropdown(list(control.choices), value=control.value, **shown)
    if control.kind == "switch":
        return gr.Checkbox(control.value, **shown)
    if control.kind in ("integer", "number"):
        # limits and whole numbers are the spec's matter, which says at the place what is allowed
        return gr.Number(control.value, step=1 if control.kind == "integer" else 0.1, **shown)
    return gr.Textbox(control.value, lines=1, **shown)
