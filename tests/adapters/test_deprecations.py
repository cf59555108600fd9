"""No name that the adapters rely on is marked as deprecated in the installed transformers or timm.

A mark comes before the break, so this fails while everything still works. A file that uses an old name has to know the
new one too: then both releases are served.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from deprecations import Mark, Uses, marks
from transformers import LlavaForConditionalGeneration

import scope_adapters
from adapters.test_conformance import CASES, MARKS
from scope_adapters.compat.caches import CACHE_NAMES, cache_name

ELSEWHERE = ("original_llava.py", "llava_original.py", "original.py", "splicing.py", "serving/", "training/")
"""About other code than transformers' models: the original LLaVA's arguments, vLLM's, our own training."""

ACCEPTED: dict[tuple[str, str], str] = {}
"""``{(file, old name): reason}`` for uses that are none of what is marked."""


def files() -> dict[str, Uses]:
    """What each file of the adapters uses."""
    home = Path(scope_adapters.__file__).parent
    paths = {path.relative_to(home).as_posix(): path for path in sorted(home.rglob("*.py"))}
    kept = {
        name: path for name, path in paths.items() if not name.endswith(ELSEWHERE) and not name.startswith(ELSEWHERE)
    }
    return {name: Uses.of(path.read_text(encoding="utf-8")) for name, path in kept.items()}


def modules(models: list[object]) -> Iterator[ModuleType]:
    """The modules of the hosts' classes, and those from which they take classes and functions."""
    first = {cls.__module__ for model in models for part in model.modules() for cls in type(part).__mro__}
    second = {
        getattr(value, "__module__", None) or ""
        for name in first
        for value in vars(sys.modules[name]).values()
        if inspect.isclass(value) or inspect.isfunction(value)
    }
    for name in sorted(first | second):
        if name.partition(".")[0] in ("transformers", "timm") and getattr(sys.modules.get(name), "__file__", None):
            yield sys.modules[name]


def offences(found: set[Mark], used: dict[str, Uses]) -> list[str]:
    """One line for each file and deprecated name."""
    lines = {}
    for file, uses in used.items():
        for mark in sorted(found, key=str):
            if uses.relies_on(mark) and (file, mark.old) not in ACCEPTED:
                lines.setdefault((file, mark.old, mark.new), f"{file}: {mark}")
    return sorted(lines.values())


@pytest.mark.skipif(
    cache_name(LlavaForConditionalGeneration.forward) != CACHE_NAMES[0],
    reason="what an earlier release marked is gone or was kept: only the newest one's marks say what will go",
)
def test_nothing_that_the_adapters_use_is_deprecated() -> None:
    every = {(name, kind): case for name, cases in CASES.items() for kind, case in cases.items()}
    models = [case.make()[0] for key, case in every.items() if key not in MARKS or not MARKS[key].args[0]]
    read = {module.__name__: Path(module.__file__).read_text(encoding="utf-8") for module in modules(models)}
    assert any(name.startswith("transformers.generation") for name in read)  # where generate is
    found = {mark for name, source in read.items() for mark in marks(source, name)}
    assert found, f"{len(read)} modules without one mark: has the way of marking changed?"
    lines = offences(found, files())
    assert not lines, f"{len(lines)} names will go:\n" + "\n".join(lines[:20])


KWARG = """
class LlamaDecoderLayer:
    @deprecate_kwarg("past_key_values", "5.40.0", new_name="cache")
    def forward(self, hidden_states, cache=None): ...
"""
WORDS = """
def forward(self, **kwargs):
    logger.warning_once("`past_key_values`/`cache_params` are deprecated. Use `cache` instead.")
"""
OLD = "def run(layer, memory):\n    return layer(past_key_values=memory)"
BOTH = "NAMES = ('cache', 'past_key_values')"


@pytest.mark.parametrize("source", [KWARG, WORDS])
def test_a_renamed_argument_is_found_while_the_old_name_still_works(source: str) -> None:
    """As transformers marked `past_key_values`, sixteen releases before it is to go."""
    found = marks(source, "transformers.models.llama")
    (line,) = offences(found, {"hosts/decoder.py": Uses.of(OLD)})
    assert line.startswith("hosts/decoder.py: transformers.models.llama, ")
    assert line.endswith(": past_key_values is deprecated; use cache")
    assert offences(found, {"hosts/names.py": Uses.of(BOTH)}) == []
    assert offences(found, {"hosts/other.py": Uses.of("import functools\n\n@functools.cache\ndef f(): ...")}) == []


@pytest.mark.parametrize(
    ("source", "use"),
    [
        ("@deprecated('use `encode`')\ndef get_image_features(self): ...", "model.get_image_features"),
        (
            "__getattr__ = deprecate_attr(__name__, rename={'DynamicCache': (Cache, '5.9')})",
            "from transformers import DynamicCache",
        ),
        ("__getattr__ = deprecate_attr(__name__, remove={'DynamicCache': (None, '5.9')})", "transformers.DynamicCache"),
        (
            "@deprecate_kwarg(old_name='layers', version='5.9')\ndef get_image_features(self): ...",
            "get_image_features(layers=1)",
        ),
        ("warnings.warn(f'The `layers` of {name} is ' 'deprecated.', FutureWarning)", "f(layers=1)"),
    ],
)
def test_every_way_of_marking_is_read(source: str, use: str) -> None:
    assert len(offences(marks(source, "m"), {"file.py": Uses.of(use)})) == 1
    assert offences(marks(source, "m"), {"file.py": Uses.of("'''Says Old, layers, get_image_features.'''")}) == []


@pytest.mark.parametrize(
    "text",
    [
        "Passing a tuple of `layers` is deprecated and will be removed in v4.58.",
        "Passing `plan` directly to `layers` is deprecated.",
        "You are passing `layers` as a list. This is deprecated.",
    ],
)
def test_names_that_a_warning_is_not_about(text: str) -> None:
    assert offences(marks(f"warnings.warn({text!r})", "m"), {"file.py": Uses.of("f(layers=1)")}) == []


def test_an_argument_of_a_function_that_nobody_calls_is_no_offence() -> None:
    source = "@deprecate_kwarg('input_ids', version='5.9')\ndef score(self): ..."
    assert offences(marks(source, "m"), {"file.py": Uses.of("model(input_ids=1)")}) == []
