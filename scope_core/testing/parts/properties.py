"""The properties that each kind of part must have, and the function that tries them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scope_core.errors import UnknownNameError, did_you_mean, listed
from scope_core.parts.partition import Partition
from scope_core.testing.failures import PropertyViolation, refuse_unexpected
from scope_core.testing.parts import fast_paths, hygiene, mathematics, planning, selection, specs, tasks, videos
from scope_core.testing.parts.cases import LARGE, RICH, Case
from scope_core.testing.parts.shrinking import search
from scope_core.testing.parts.subject import Subject

Applies = Callable[[Any, Subject], bool]


@dataclass(frozen=True)
class Property:
    """A property that parts of some kinds must have.

    Attributes:
        check: Raises `PropertyViolation` for a case in which the property does not hold. Its name is the property's,
            and the first line of its docstring the description.
        kinds: Kinds of part that must have it.
        when: ``(part, subject) -> bool``: False for parts that do not declare it.
        how: ``"once"``: it needs no examples. ``"known"``: tried on the kit's own examples. ``"drawn"``: on drawn ones
            too. ``"plain"``: on those without equal tokens.
        more: Additional examples.
    """

    check: Callable[[Subject, Case], None]
    kinds: tuple[str, ...]
    when: Applies = lambda part, subject: True
    how: str = "drawn"
    more: tuple[Case, ...] = ()

    @property
    def name(self) -> str:
        """The name in messages and test ids."""
        return self.check.__name__

    @property
    def about(self) -> str:
        """The description."""
        first = (self.check.__doc__ or "").splitlines()[0].rstrip(".")
        return first[:1].lower() + first[1:]


TENSORS = (
    "saliency",
    "similarity",
    "coverage",
    "combiner",
    "constraint",
    "optimizer",
    "selector",
    "merger",
    "statistic",
)
COUNTS = ("budget", "partition", "position")
EVERY = (*TENSORS, *COUNTS)
CHECKED = (*EVERY, "task")
"""Every kind that the kit checks; tasks have no tensors and no layouts, so they share the properties of specs alone."""
NUMBERS = ("saliency", "similarity", "coverage", "combiner", "merger", "statistic")
CHOOSERS = ("optimizer", "selector")


def _declares(name: str) -> Applies:
    return lambda part, subject: bool(getattr(part, name))


def _offers(*names: str) -> Applies:
    """True for parts whose optional member ``names[0]`` is set, and whose ``names[1]`` is set on that, and so on."""

    def applies(part: Any, subject: Subject) -> bool:
        for name in names:
            part = getattr(part, name)
            if part is None:
                return False
        return True

    return applies


def _declares_reach(part: Any, subject: Subject) -> bool:
    return part.reach is not None


def _divides(part: Any, subject: Subject) -> bool:
    """True for partitions that say how large their pieces are."""
    return type(part).largest is not Partition.largest


def _if_given(part: Any, subject: Subject) -> bool:
    return subject.value is not None


def _if_short(part: Any, subject: Subject) -> bool:
    return subject.record.spec.shorthand is not None


TABLE = (
    Property(specs.attributes_can_be_read, CHECKED, how="once"),
    Property(hygiene.outputs_have_the_promised_form, EVERY, how="known"),
    Property(specs.every_option_is_documented, CHECKED, how="once"),
    Property(specs.spec_survives_json_and_yaml, CHECKED, how="once"),
    Property(specs.schema_accepts_its_specs, CHECKED, how="once"),
    Property(hygiene.works_in_lower_precision, TENSORS, how="known"),
    Property(hygiene.finite_inputs_give_finite_outputs, NUMBERS),
    Property(hygiene.inputs_are_not_changed, EVERY, how="known"),
    Property(hygiene.gradient_mode_is_respected, TENSORS, how="known"),
    Property(hygiene.two_runs_are_equal, EVERY, how="known"),
    Property(hygiene.calls_leave_no_state, EVERY, how="known"),
    Property(hygiene.threads_do_not_interfere, EVERY, how="once"),
    Property(hygiene.groups_do_not_affect_each_other, TENSORS, how="plain"),
    Property(hygiene.padding_changes_nothing, TENSORS, how="plain"),
    Property(hygiene.outputs_follow_the_token_order, TENSORS, _declares("equivariant"), how="plain"),
    Property(mathematics.scores_are_never_negative, ("saliency",), lambda part, subject: bool(part.nonnegative)),
    Property(mathematics.similarity_is_symmetric, ("similarity",), _declares("symmetric")),
    Property(mathematics.rows_are_columns, ("similarity",), _declares("mirrored"), more=(LARGE,)),
    Property(mathematics.values_stay_within_bounds, ("similarity",)),
    Property(mathematics.start_is_the_empty_set, ("coverage",)),
    Property(mathematics.gains_are_never_negative, ("coverage",), _declares("monotone")),
    Property(mathematics.gains_never_grow, ("coverage",), _declares("submodular")),
    Property(mathematics.gains_belong_to_one_set_function, ("coverage",), _declares("submodular")),
    Property(mathematics.gains_match_the_given_function, ("coverage",), _if_given),
    Property(fast_paths.kernel_picks_match_the_loop, ("coverage",), _offers("kernel"), more=(LARGE,)),
    Property(fast_paths.vectors_match_pairwise, ("similarity",), _offers("vectors")),
    Property(fast_paths.block_picks_match_the_loop, ("coverage",), _offers("kernel", "picks_in_blocks"), more=(LARGE,)),
    Property(mathematics.affine_matches_combine, ("combiner",), _offers("affine")),
    Property(mathematics.unused_inputs_change_nothing, ("combiner",)),
    Property(selection.counts_are_met_exactly, CHOOSERS),
    Property(selection.only_candidates_are_picked, CHOOSERS),
    Property(selection.required_tokens_are_kept, CHOOSERS),
    Property(selection.picks_are_those_of_exact_greedy, ("optimizer",), _declares("exact")),
    Property(selection.selection_describes_its_picks, ("selector",)),
    Property(planning.layout_alone_decides, ("budget", "partition")),
    Property(planning.some_images_meet_the_budget, ("budget",), how="once"),
    Property(planning.regrouping_keeps_the_total, ("budget",), _declares("additive")),
    Property(planning.larger_numbers_keep_no_fewer_tokens, ("budget",), _if_short),
    Property(planning.every_token_is_in_one_group, ("partition",)),
    Property(videos.pieces_are_no_larger_than_planned, ("partition",), _divides),
    Property(videos.frames_outside_reach_change_nothing, ("saliency", "selector"), _declares_reach, how="once"),
    Property(planning.weights_fill_the_promised_rows, ("merger",)),
    Property(planning.extra_rows_are_declared_consistently, ("merger",)),
    Property(planning.full_prompts_keep_their_positions, ("position",)),
    Property(planning.positions_rise_without_gaps, ("position",)),
    Property(tasks.splits_are_named, ("task",), how="once"),
    Property(tasks.examples_have_questions_and_ids, ("task",), how="once"),
    Property(tasks.examples_are_the_same_each_time, ("task",), how="once"),
    Property(tasks.limits_are_met, ("task",), how="once"),
    Property(tasks.images_can_be_read, ("task",), how="once"),
    Property(tasks.right_answers_are_right, ("task",), how="once"),
    Property(tasks.metrics_are_shares, ("task",), how="once"),
)
"""Every property; those that others build on come first."""

FIRST = {
    "attributes_can_be_read",
    "outputs_have_the_promised_form",
    "two_runs_are_equal",
    "calls_leave_no_state",
}
"""Properties without which the others mean nothing."""


def properties_of(kind: str) -> dict[str, str]:
    """``{property: description}`` of a kind of part."""
    return {prop.name: prop.about for prop in TABLE if kind in prop.kinds}


def owed(subject: Subject) -> list[Property]:
    """The properties that a part must have: those of its kind, without those that it does not declare."""
    of_kind = [prop for prop in TABLE if subject.kind in prop.kinds]
    try:
        part = subject.part()
        return [prop for prop in of_kind if prop.when(part, subject)]
    except Exception:  # it cannot be built, or an attribute raises: "attributes_can_be_read" says so
        return of_kind


def attempt(prop: Property, subject: Subject) -> None:
    """Try one property.

    Raises:
        PropertyViolation: The property does not hold.
    """
    if prop.how == "once":
        prop.check(subject, RICH[0])
    else:
        examples = 0 if prop.how == "known" else subject.examples
        plain = prop.how == "plain"
        search(lambda case: prop.check(subject, case), examples=examples, plain=plain, more=prop.more)


def expected_of(subject: Subject, expected_failures: Mapping[str, str]) -> dict[str, str]:
    """``expected_failures``, if every entry is a property that the part must have.

    Raises:
        UnknownNameError: An entry is not a property of this kind of part, or the part need not have it.
    """
    check_names(subject.kind, expected_failures)
    applicable = {prop.name for prop in owed(subject)}
    for name in expected_failures:
        if name not in applicable:
            raise UnknownNameError(f"{subject} need not have property '{name}'; remove it from expected_failures")
    return dict(expected_failures)


def check_names(kind: str, names: Iterable[str]) -> None:
    """Refuse names that are not properties of a kind of part.

    Raises:
        UnknownNameError: names the nearest property.
    """
    about = properties_of(kind)
    for name in names:
        if name not in about:
            raise UnknownNameError(
                f"no property of {kind} is called '{name}'{did_you_mean(name, about)}. Known: {listed(about)}"
            )


@dataclass(frozen=True)
class PartConformance:
    """Properties that were tried on a part.

    Attributes:
        part: The part and the distribution that it comes from.
        passed: Properties that hold.
        seconds: Wall time of each property that was tried.
        expected_failures: ``{property: reason}`` of those that do not hold, as ``expected_failures`` said.
    """

    part: str
    passed: tuple[str, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)
    expected_failures: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        every = "" if self.expected_failures else "all "
        lines = [f"{self.part}: {every}{len(self.passed)} properties hold: {', '.join(self.passed)}"]
        lines += [f"  expected to fail: {name}: {reason}" for name, reason in self.expected_failures.items()]
        return "\n".join(lines)


def check_subject(
    subject: Subject, only: Collection[str] = (), expected_failures: Mapping[str, str] | None = None
) -> PartConformance:
    """Try every property that a part must have.

    Raises:
        ConformanceError: names every property that does not hold, and every expected failure that holds.
        UnknownNameError: ``only`` or ``expected_failures`` names a property that the part need not have.
    """
    check_names(subject.kind, only)
    expected = expected_of(subject, expected_failures or {})
    failures: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for prop in owed(subject):
        if only and prop.name not in only:
            continue
        start = time.perf_counter()
        try:
            attempt(prop, subject)
        except PropertyViolation as violation:
            failures[prop.name] = str(violation)
        seconds[prop.name] = time.perf_counter() - start
        if failures.keys() & (FIRST - set(expected)):
            break  # the part cannot be built, or runs cannot be compared: other failures would say no more
    passed = tuple(name for name in seconds if name not in failures)
    refuse_unexpected(str(subject), failures, passed, expected, properties_of(subject.kind))
    return PartConformance(
        str(subject), passed, seconds, {name: reason for name, reason in expected.items() if name in failures}
    )
