"""The section of a method's page on its accuracy, from the results of ``scope bench accuracy``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scope_adapters.pages.facts import Method
from scope_adapters.pages.markdown import code, table, wrapped

BESIDE = ("random",)
"""Rows shown beside the method's own: a control, and the bound below."""
FULL = "all tokens"


def figures(method: Method, results: Mapping[str, Any], docs: str) -> str:
    """Accuracy of the method and its variants at each budget, with a control and the unpruned model.

    Args:
        method: The method.
        results: ``results.json`` of ``scope bench accuracy``.
        docs: Path from the page to scope-core's documentation; empty for no links.
    """
    at = {(run["name"], run["keep"]): run for run in results["runs"]}
    measured = {name for name, _ in at}
    own = [one.name for one in (method, *method.variants) if one.name in measured]
    if not own:
        return wrapped(_unmeasured(method))
    keeps = [keep for keep in results["budgets"] if any((name, keep) in at for name in own)]
    rows = []
    for name in dict.fromkeys([*own, *BESIDE]):
        cells = [_points(at[name, keep]) if (name, keep) in at else "-" for keep in keeps]
        rows.append((f"`{name}`", *cells))
    if (FULL, None) in at:
        rows.append((FULL, _points(at[FULL, None]), *[""] * (len(keeps) - 1)))
    text = f"Percent right of {results['questions']:,} questions about {results['examples']} images, by tokens kept "
    text += f"of each image, with half of the {results['level']:.0%} interval; model `{results['model']}`, task "
    text += f"`{results['task']}`."
    more = ""
    if docs:
        more = (
            f"Small model, small task: [Evidence]({docs}evidence.md) says what these figures show and what they do not."
        )
    missing = [one.name for one in method.variants if one.name not in measured]
    if missing:
        more += f" Not measured: {code(missing)}."
    return f"{wrapped(text)}\n\n{table(('tokens kept', *map(str, keeps)), rows)}\n{wrapped(more.strip())}"


def _unmeasured(method: Method) -> str:
    text = f"`{method.name}` was not measured there. If it runs on the model, `scope bench accuracy --specs "
    return f"{text}{method.name},controls` measures it."


def _points(run: Mapping[str, Any]) -> str:
    low, high = run["interval"]
    return f"{100 * run['accuracy']:.1f}±{50 * (high - low):.1f}"
