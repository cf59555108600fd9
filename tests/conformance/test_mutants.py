"""The kit catches every part that is broken on purpose, by the property named after it, and passes the correct ones."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from fakes import HOOKS, hook_function
from pydantic import ConfigDict

import scope_core as scope
from conformance import mutants, mutants_at_once, mutants_tasks
from scope_core.parts import Budget, ComponentSpec, Entry, SaliencySource
from scope_core.testing import (
    ConformanceError,
    check_coverage,
    check_saliency,
    check_task,
    parametrize,
    properties_of,
)
from scope_core.testing.parts.properties import TABLE, check_subject
from scope_core.testing.parts.subject import subject_of

EMPTY = scope.Registry()
CORRECT = [*mutants.CORRECT, *mutants_at_once.CORRECT]
BROKEN = [*mutants.BROKEN, *mutants_at_once.BROKEN, *mutants_tasks.BROKEN]


def spec_of(target: type) -> type[ComponentSpec]:
    """The spec model in ``Saliency[Spec]`` of the class, or of the one it inherits from."""
    for cls in target.__mro__:
        for base in getattr(cls, "__orig_bases__", ()):
            for argument in getattr(base, "__args__", ()):
                if isinstance(argument, type) and issubclass(argument, ComponentSpec):
                    return argument
    raise LookupError(target)


def entry(target: type, spec: type[ComponentSpec] | None = None) -> Entry:
    return Entry(spec or spec_of(target), target, "made for tests")


def check(made: Entry, only: tuple[str, ...] = ()) -> Any:
    return check_subject(subject_of(None, made, registry=EMPTY, examples=6), only)


@pytest.mark.parametrize("target", CORRECT, ids=lambda target: target.__name__)
def test_correct_parts_pass(target: type) -> None:
    assert "outputs_have_the_promised_form" in check(entry(target)).passed


def test_a_correct_task_passes() -> None:
    report = check_task(entry(mutants_tasks.Counting), registry=EMPTY)
    assert {prop.name for prop in TABLE if prop.kinds == ("task",)} <= set(report.passed)


@pytest.mark.parametrize(("target", "prop"), BROKEN, ids=[f"{target.__name__}-{prop}" for target, prop in BROKEN])
def test_broken_parts_are_caught(target: type, prop: str) -> None:
    mutants.STORE.clear()
    with pytest.raises(ConformanceError) as caught:
        check(entry(target), (prop,))
    text = str(caught.value)
    assert f"'{spec_of(target).model_fields['name'].default}' (this process) breaks" in text
    assert f"\n  {prop} ({properties_of(check_kind(target))[prop]}): " in text


def check_kind(target: type) -> str:
    return subject_of(None, entry(target), registry=EMPTY).kind


@pytest.mark.parametrize(("spec", "prop"), mutants.BROKEN_SPECS, ids=lambda value: getattr(value, "__name__", value))
def test_broken_specs_are_caught(spec: type[ComponentSpec], prop: str) -> None:
    with pytest.raises(ConformanceError) as caught:
        check(
            entry(mutants.Source, spec),
            ("every_option_is_documented", "spec_survives_json_and_yaml", "schema_accepts_its_specs"),
        )
    assert prop in caught.value.failures


def test_every_property_catches_something() -> None:
    """No property that cannot fail; the two that need more than a part have tests of their own below."""
    caught = {prop for _, prop in [*BROKEN, *mutants.BROKEN_SPECS]}
    assert {prop.name for prop in TABLE} - caught == {
        "gains_match_the_given_function",
        "larger_numbers_keep_no_fewer_tokens",
    }


def test_gains_against_the_function_itself() -> None:
    def value(similarity: Any, chosen: list[int]) -> float:
        return float(similarity[:, chosen].amax(1).clamp(min=0).sum()) if chosen else 0.0

    report = check_coverage(entry(mutants.Cover), value=value, registry=EMPTY)
    assert "gains_match_the_given_function" in report.passed
    with pytest.raises(ConformanceError, match=r"f\(A \+ token\) - f\(A\) is") as caught:
        check_coverage(entry(mutants.Cover), value=lambda s, chosen: 2 * value(s, chosen), registry=EMPTY)
    assert set(caught.value.failures) == {"gains_match_the_given_function"}


def test_a_budget_that_falls_when_its_number_rises(registry: scope.Registry) -> None:
    class Spec(mutants.FewSpec):
        """Made for tests."""

        shorthand = (int, "keep")
        keep: int = 3
        """How many."""

    class Falling(Budget[Spec]):
        """Less for more."""

        def plan(self, layout: Any, groups: Any) -> Any:
            return tuple(min(sum(span.tokens for span in group), max(0, 4 - self.spec.keep)) for group in groups)

    with pytest.raises(ConformanceError, match="larger_numbers_keep_no_fewer_tokens"):
        check(entry(Falling, Spec))


def test_the_message_says_what_broke_where_and_the_smallest_example() -> None:
    with pytest.raises(ConformanceError) as caught:
        check(entry(mutants.Padded))
    how = caught.value.failures["padding_changes_nothing"]
    assert "Smallest example found: Case(groups=(((1, 1),)" in how
    assert "score() is " in how
    with pytest.raises(ConformanceError) as caught:
        check(entry(mutants.Crashes))
    assert "raised IndexError: " in caught.value.failures["outputs_have_the_promised_form"]
    assert "mutants.py:" in str(caught.value)


def test_only_one_property_and_one_that_is_not_there() -> None:
    report = check_saliency(entry(mutants.Negative), registry=EMPTY, only=["two_runs_are_equal"])
    assert report.passed == ("two_runs_are_equal",)
    with pytest.raises(scope.UnknownNameError, match=r"'two_runs_are_equa' \(did you mean 'two_runs_are_equal'\?\)"):
        check_saliency(entry(mutants.Source), registry=EMPTY, only=["two_runs_are_equa"])


class TestParametrize:
    def test_one_case_for_each_property_that_is_owed(self) -> None:
        mark = parametrize(entry(mutants.Cover), registry=EMPTY).mark
        names = [case.id for case in mark.args[1]]
        assert names[:2] == ["acme.cover-attributes_can_be_read", "acme.cover-outputs_have_the_promised_form"]
        assert "acme.cover-gains_never_grow" in names
        assert "acme.cover-gains_match_the_given_function" not in names
        (shape,) = (case.values[0] for case in mark.args[1] if case.id == "acme.cover-outputs_have_the_promised_form")
        shape()

    def test_a_case_that_fails(self) -> None:
        mark = parametrize(entry(mutants.Positional), registry=EMPTY).mark
        (order,) = (case.values[0] for case in mark.args[1] if case.id == "acme.source-outputs_follow_the_token_order")
        with pytest.raises(ConformanceError, match=r"saliency 'acme.source' \(this process\) breaks 1 of"):
            order()

    def test_a_name_that_is_not_there(self, registry: scope.Registry) -> None:
        with pytest.raises(
            scope.UnknownNameError, match=r"no part is called 'feature_nrm' \(did you mean 'feature_norm"
        ):
            parametrize("feature_nrm", registry=registry)
        with pytest.raises(scope.UnknownNameError, match=r"say which, e.g. kind='saliency'"):
            parametrize("blend", registry=registry)
        assert parametrize("blend", "similarity", registry=registry).mark.args[1]


class TestExpectedFailures:
    """Of a saliency source whose scores depend on the order of tokens, and of one without faults."""

    ORDER = "outputs_follow_the_token_order"
    PURE = "two_runs_are_equal"
    REASON = "reads the raster"

    def test_the_report_says_them(self) -> None:
        report = check_saliency(entry(mutants.Positional), registry=EMPTY, expected_failures={self.ORDER: self.REASON})
        assert report.expected_failures == {self.ORDER: self.REASON}
        assert self.ORDER not in report.passed
        assert f"\n  expected to fail: {self.ORDER}: {self.REASON}" in str(report)
        assert "all" not in str(report).split(":")[1]

    def test_one_that_holds_has_to_be_removed(self) -> None:
        with pytest.raises(
            ConformanceError, match=r"remove them from it:\n  two_runs_are_equal: .*reads the raster"
        ) as caught:
            check_saliency(entry(mutants.Source), registry=EMPTY, expected_failures={self.PURE: self.REASON})
        assert caught.value.failures == {}
        assert caught.value.outdated == {self.PURE: self.REASON}

    def test_other_failures_are_failures(self) -> None:
        with pytest.raises(ConformanceError) as caught:
            check_saliency(entry(mutants.Positional), registry=EMPTY, expected_failures={self.PURE: self.REASON})
        assert set(caught.value.failures) == {self.ORDER}
        assert set(caught.value.outdated) == {self.PURE}

    def test_an_expected_failure_does_not_end_the_run(self) -> None:
        """Without it, nothing is tried of a part that draws at random after that is found."""
        with pytest.raises(ConformanceError) as caught:
            check_saliency(entry(mutants.Draws), registry=EMPTY)
        assert set(caught.value.failures) == {self.PURE}
        expected = dict.fromkeys((self.PURE, "calls_leave_no_state"), self.REASON)
        with pytest.raises(ConformanceError) as caught:
            check_saliency(entry(mutants.Draws), registry=EMPTY, expected_failures=expected)
        assert "padding_changes_nothing" in caught.value.failures
        assert not set(caught.value.failures) & set(expected)

    @pytest.mark.parametrize("way", [check_saliency, parametrize])
    def test_a_name_that_is_not_there(self, way: Any) -> None:
        with pytest.raises(
            scope.UnknownNameError, match=r"'two_runs_are_equa' \(did you mean 'two_runs_are_equal'\?\)"
        ):
            way(entry(mutants.Source), registry=EMPTY, expected_failures={"two_runs_are_equa": self.REASON})

    @pytest.mark.parametrize("way", [check_coverage, parametrize])
    def test_a_property_that_the_part_need_not_have(self, way: Any) -> None:
        name = "gains_match_the_given_function"  # no function is given
        with pytest.raises(scope.UnknownNameError, match=f"need not have property '{name}'; remove it"):
            way(entry(mutants.Cover), registry=EMPTY, expected_failures={name: self.REASON})

    def test_under_pytest(self) -> None:
        cases = {
            case.id: case.values[0]
            for case in parametrize(
                entry(mutants.Positional),
                registry=EMPTY,
                expected_failures={self.ORDER: self.REASON, self.PURE: self.REASON},
            ).mark.args[1]
        }
        with pytest.raises(pytest.xfail.Exception, match=f"^{self.REASON}$"):
            cases[f"acme.source-{self.ORDER}"]()
        with pytest.raises(ConformanceError, match="remove them from it"):
            cases[f"acme.source-{self.PURE}"]()
        cases["acme.source-inputs_are_not_changed"]()


class TestWhatAPartIsGiven:
    def test_a_signal_of_the_authors_own(self) -> None:
        class Depth(mutants.Source):
            """Reads a depth map."""

            @property
            def needs(self) -> frozenset[str]:
                return frozenset({"acme.depth"})

            def score(self, tokens: Any) -> Any:
                return tokens.signal("acme.depth").abs()

        with pytest.raises(scope.SignalError, match=r"say how, e.g. signals=\{'acme.depth': 'B N'\}"):
            check_saliency(entry(Depth), registry=EMPTY)
        report = check_saliency(entry(Depth), registry=EMPTY, signals={"acme.depth": "B N"})
        assert "outputs_follow_the_token_order" in report.passed

        def depth(tokens: scope.VisualTokens) -> Any:
            return tokens.features[..., 0]

        report = check_saliency(entry(Depth), registry=EMPTY, signals={"acme.depth": depth})
        assert "outputs_follow_the_token_order" in report.passed

    def test_tokens_of_the_authors_own(self) -> None:
        seen: list[int] = []

        def make(case: Any) -> scope.VisualTokens:
            seen.append(case.seed)
            return case.tokens()

        assert check_saliency(entry(mutants.Source), registry=EMPTY, tokens=make).passed
        assert seen

    def test_required_options_are_guessed_given_or_asked_for(self) -> None:
        class Spec(mutants.SourceSpec):
            """Made for tests."""

            scale: float
            """Factor."""
            path: tuple[tuple[str, int], ...]
            """Something of which nothing is valid."""

        assert subject_of(None, entry(mutants.Source, Spec), registry=EMPTY).options == {"scale": 1, "path": ()}

        class Odd(Spec):
            """Made for tests."""

            path: tuple[tuple[str, int]]
            """Something that nobody can guess."""

        with pytest.raises(scope.SpecError, match="the kit cannot guess them: give options="):
            check_saliency(entry(mutants.Source, Odd), registry=EMPTY)
        given = subject_of(None, entry(mutants.Source, Odd), registry=EMPTY, options={"path": [["a", 1]]})
        assert given.options == {"scale": 1, "path": [["a", 1]]}

        class Told(Odd):
            """Made for tests."""

            model_config = ConfigDict(json_schema_extra={"examples": [{"scale": 2.0, "path": [["b", 2]]}]})

        assert subject_of(None, entry(mutants.Source, Told), registry=EMPTY).options["scale"] == 2.0

    def test_a_module_that_is_not_installed(self) -> None:
        made = ModuleType("acme_module")
        hook = HOOKS[SaliencySource]
        setattr(made, hook, hook_function("acme_module", hook, [entry(mutants.Source)]))
        assert check_saliency("acme.source", registry=EMPTY.with_module(made)).part.startswith("saliency 'acme.source'")


def test_without_hypothesis_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from scope_core.testing.parts import shrinking

    monkeypatch.setitem(__import__("sys").modules, "hypothesis", None)
    shrinking._drawn.cache_clear()
    with pytest.raises(scope.MissingDependencyError, match="pip install hypothesis"):
        check_saliency(entry(mutants.Source), registry=EMPTY)
