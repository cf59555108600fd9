"""The kinds of part: a table with the name, hook and base class of each, one row per hook.

The registry, the specs and the command line use it.
"""

from __future__ import annotations

from dataclasses import dataclass

from scope_core.errors import UnknownNameError, did_you_mean, listed


@dataclass(frozen=True)
class Kind:
    """One kind of part.

    Attributes:
        name: Name in specs and on the command line, e.g. ``"saliency"``.
        hook: The hook that registers parts of this kind.
        item: ``"pkg.mod:Class"`` of the records that the hook yields (`Entry` for parts).
        base: ``"pkg.mod:Class"`` that every target must subclass; empty for kinds that are not parts.
        about: One line that describes the kind.
        noun: Name of one of them in messages, e.g. ``"saliency source"``.
    """

    name: str
    hook: str
    item: str
    base: str
    about: str
    noun: str


HOME = "scope-core"
"""The distribution whose parts have bare names."""

HERE = "this process"
"""The distribution name of parts that `Registry.with_module` added."""

_ENTRIES = "scope_core.registry.entries"
_ENTRY = f"{_ENTRIES}:Entry"

_NOUNS = {
    "saliency": "saliency source",
    "similarity": "similarity metric",
    "coverage": "coverage function",
    "position": "position policy",
    "zoo": "zoo entry",
}

_FOLDERS = {"adapter": "pruning"}  # the base classes of all other kinds are in `parts`

KINDS: tuple[Kind, ...] = tuple(
    Kind(
        name,
        hook,
        item,
        base and f"scope_core.{_FOLDERS.get(name, 'parts')}.{name}:{base}",
        about,
        _NOUNS.get(name, name),
    )
    for name, hook, item, base, about in (
        ("saliency", "scope_saliency_sources", _ENTRY, "SaliencySource", "how much each token matters on its own"),
        ("similarity", "scope_similarity_metrics", _ENTRY, "SimilarityMetric", "how alike two tokens are"),
        ("coverage", "scope_coverage_functions", _ENTRY, "CoverageFunction", "how much a token adds to those picked"),
        ("combiner", "scope_combiners", _ENTRY, "Combiner", "how gain and saliency are combined into one score"),
        ("optimizer", "scope_optimizers", _ENTRY, "Optimizer", "the order in which tokens are picked by score"),
        ("selector", "scope_selectors", _ENTRY, "Selector", "a whole selection step, usually built from parts"),
        ("statistic", "scope_statistics", _ENTRY, "Statistic", "one number for a group of tokens, to make counts from"),
        ("budget", "scope_budgets", _ENTRY, "Budget", "how many tokens are kept, before any tensor exists"),
        ("partition", "scope_partitions", _ENTRY, "Partition", "which tokens are selected together"),
        ("constraint", "scope_constraints", _ENTRY, "Constraint", "tokens that must stay or must go"),
        ("merger", "scope_mergers", _ENTRY, "Merger", "what happens to dropped tokens"),
        ("position", "scope_position_policies", _ENTRY, "PositionPolicy", "position ids after pruning"),
        ("task", "scope_tasks", _ENTRY, "Task", "questions about images, with answers, to measure accuracy with"),
        ("adapter", "scope_adapters", _ENTRY, "ModelAdapter", "where a model's tokens are intercepted"),
        ("recipe", "scope_recipes", f"{_ENTRIES}:Recipe", "", "a named, complete pruner spec"),
        ("zoo", "scope_zoo", f"{_ENTRIES}:ZooEntry", "", "models and towers that can be loaded by name"),
        ("command", "scope_commands", f"{_ENTRIES}:Command", "", "commands that plugins add to `scope`"),
        ("check", "scope_checks", f"{_ENTRIES}:Check", "", "self-checks that `scope doctor` runs"),
    )
)

_BY_NAME = {kind.name: kind for kind in KINDS}


def public_name(name: str) -> str:
    """The public path of a class that kinds name: ``"scope_core.parts.Budget"`` for ``"Budget"``."""
    faces = {
        "ModelAdapter": "adapters",
        "ZooEntry": "adapters",
        "Task": "tasks",
        "Command": "commands",
        "Check": "commands",
    }
    return f"scope_core.{faces.get(name, 'parts')}.{name}"


def kind_named(name: str) -> Kind:
    """The kind called ``name``.

    Raises:
        UnknownNameError: there is no such kind; the message lists them.
    """
    if name not in _BY_NAME:
        raise UnknownNameError(
            f"there is no kind of part called '{name}'{did_you_mean(name, _BY_NAME)}. Kinds: {listed(_BY_NAME)}"
        )
    return _BY_NAME[name]
