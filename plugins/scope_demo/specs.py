"""Specs as visitors meet them: YAML to edit, mistakes with their lines, and code to copy."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pprint import pformat
from typing import Any

import yaml

from scope_core import Pruner, PrunerSpec, Registry, SpecError
from scope_core.commands import did_you_mean, label_of, read_spec, read_spec_text
from scope_demo.subject import LENGTH

_BUDGET = re.compile(r"^budget:[^\n]*(\n[ \t]+[^\n]*)*", re.MULTILINE)
_KEEP = re.compile(r"(\bkeep:[ \t]+)\d+\b")
_LINE = re.compile(r"\bline (\d+)")
_MEANT = re.compile(r"'([^'\n]+)'[^'\n]* \(did you mean '([^'\n]+)'")
_GIVEN = re.compile(r"Input should be ('.*) \(given: '([^'\n]+)'\)")
_PLACE = re.compile(r"^(spec: )?(line \d+(: |, ))?")
_LONG = 300
"""Characters of a mistake's message that are shown."""


@dataclass(frozen=True)
class Mistake:
    """A mistake in a spec.

    Attributes:
        text: The mistake in words.
        line: Its line, from 1; None if it is of no line.
        wrong: The word to replace; empty without a suggestion.
        meant: The suggested word.
    """

    text: str
    line: int | None = None
    wrong: str = ""
    meant: str = ""


def yaml_of(text: str, budget: int, registry: Registry) -> str:
    """The YAML of a recipe with every option, one line for each part; it reads as the same spec.

    Args:
        text: A recipe.
        budget: Tokens to keep.
        registry: The registry that names are looked up in.
    """
    return yaml_of_spec(read_spec(text, registry, budget=budget), registry)


def yaml_of_spec(spec: PrunerSpec, registry: Registry) -> str:
    """The YAML of a spec with every option, one line for each part; its recipe and budget come first."""
    table = {key: value for key, value in spec.to_table(registry).items() if value is not None or key != "recipe"}
    short = label_of(spec, registry).rpartition("@")[2]
    if short.isdecimal() and read_spec({**table, "budget": int(short)}, registry) == spec:
        table["budget"] = int(short)
    for key in ("constraints", "order", "attention_bias"):
        if read_spec({one: value for one, value in table.items() if one != key}, registry) == spec:
            table.pop(key)
    first: dict[str, Any] = {key: table[key] for key in ("recipe", "budget") if key in table}
    first.update(table)
    return "".join(f"{key}: {inline(value)}\n" for key, value in first.items())


def inline(value: Any) -> str:
    """A value as one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def with_budget(text: str, budget: int) -> str:
    """YAML with another budget; comments and everything else stay, other options of the budget too."""
    found = _BUDGET.search(text)
    if found is None:
        return f"{text.rstrip()}\nbudget: {budget}\n".lstrip()
    line, kept = _KEEP.subn(rf"\g<1>{budget}", found[0], count=1)
    return text[: found.start()] + (line if kept else f"budget: {budget}") + text[found.end() :]


def pruner_of(text: str, budget: int, registry: Registry, *, name: str = "spec") -> Pruner:
    """The pruner of a spec's YAML at the budget of the slider.

    Raises:
        ScopeError: the spec is wrong.
    """
    spec = read_spec_text(text, registry, name=name, budget=budget)
    return Pruner(spec, registry=registry)


def mistakes(message: str) -> list[Mistake]:
    """The mistakes that an error's message lists, each with its line and the suggestion if there is one."""
    head, _, rest = message.partition("\n")
    listed = [line.strip() for line in rest.splitlines()] if " is wrong in " in head else [message]
    return [_mistake(one) for one in listed if one]


def _mistake(text: str) -> Mistake:
    if choice := _GIVEN.search(text):
        text += did_you_mean(choice[2], re.findall(r"'([^'\n]+)'", choice[1])).replace(" (", f"; '{choice[2]}' (", 1)
    lines, meant = _LINE.findall(text), _MEANT.findall(text)
    line = int(lines[-1]) if lines else None  # YAML's own errors name the place where it gave up last
    wrong, right = meant[0] if meant else ("", "")
    text = _PLACE.sub("", text)
    return Mistake(text if len(text) <= _LONG else f"{text[:_LONG]}...", line, wrong, right)


def corrected(text: str, found: list[Mistake]) -> str:
    """The YAML with the first suggestion of each line put in."""
    lines = text.split("\n")
    for one in found:
        if one.meant and one.line is not None and one.line <= len(lines):
            word = rf"(?<![\w@.-]){re.escape(one.wrong)}(?![\w@.-])"
            lines[one.line - 1] = re.sub(word, one.meant.replace("\\", r"\\"), lines[one.line - 1], count=1)
    return "\n".join(lines)


def changed(text: str, path: tuple[str | int, ...], value: Any, registry: Registry) -> str:
    """The YAML of a spec with another value at one place.

    Args:
        text: YAML of the spec.
        path: Keys and positions that lead to the option.
        value: Its new value. For a part, its name: the part gets its default options.
        registry: The registry that names are looked up in.

    Raises:
        SpecError: the text, or the spec with the new value, is wrong.
    """
    table = json.loads(json.dumps(read_spec_text(text, registry).to_table(registry)))
    here: Any = table
    for step in path[:-1]:
        if isinstance(here[step], str):  # a part by its name alone
            here[step] = {"name": here[step]}
        here = here[step]
    here[path[-1]] = value
    return yaml_of_spec(read_spec(table, registry), registry)


def short_of(spec: PrunerSpec, registry: Registry) -> str:
    """``RECIPE@64`` if that is the whole spec; else empty."""
    text = spec.label
    try:
        same = spec.recipe is not None and read_spec(text, registry) == spec
    except SpecError:
        return ""
    return text if same else ""


def python_of(spec: PrunerSpec, registry: Registry, *, subject: str, answers: bool, image: str, question: str) -> str:
    """Python that does what the page does."""
    short = short_of(spec, registry)
    table = {} if short else yaml.safe_load(yaml_of_spec(spec, registry))
    given = repr(short) if short else pformat(table, sort_dicts=False, width=100)
    lines = [
        "import scope_core as scope",
        "from scope_core.commands import open_pictures",
        "",
        f"pruner = scope.Pruner({given})",
        f"image = open_pictures([{image!r}])[0].image",
        f"loaded = scope.load({subject!r})",
    ]
    if answers:
        lines += [
            f"inputs = loaded.inputs([image], {question!r})",
            "with pruner.attach(loaded.model) as pruning:",
            f"    ids = loaded.model.generate(**inputs, max_new_tokens={LENGTH}, do_sample=False)",
            '    print(loaded.decode(ids[0, inputs["input_ids"].shape[1] :]))',
            "    print(pruning.receipt)",
        ]
    else:
        lines += [
            f"tokens = loaded.encode([image], at={spec.at!r}, needs=pruner.needs)",
            "print(pruner.prune(tokens))",
        ]
    return "\n".join(lines) + "\n"


def shell_of(spec: PrunerSpec, registry: Registry, *, subject: str, answers: bool, image: str, question: str) -> str:
    """A shell command that does what the page does."""
    short = short_of(spec, registry)
    head = "" if short else f"cat > pruner.yaml <<'END'\n{yaml_of_spec(spec, registry)}END\n"
    what = ["scope", "run" if answers else "select", image]
    what += ["-q", question, "--model", subject] if answers else ["--tower", subject]
    return head + shlex.join([*what, "--spec", short or "pruner.yaml", "--out", "kept.png"]) + "\n"
