"""Patterns of names."""

from __future__ import annotations

import pytest

from scope_core import UnknownNameError
from scope_core.registry.patterns import check_patterns, is_pattern, matching

NAMES = ["dart", "dart@official", "scope", "scope@paper", "visionzip", "vispruner"]


@pytest.mark.parametrize(
    ("patterns", "exclude", "wanted"),
    [
        ("*", (), NAMES),
        ("vis*", (), ["visionzip", "vispruner"]),
        ("scope", (), ["scope"]),
        ("Vis*", (), []),
        (["vis*", "d?rt"], (), ["dart", "visionzip", "vispruner"]),
        ("*", "*@*", ["dart", "scope", "visionzip", "vispruner"]),
        ("[ds]*", ["*@official", "scope"], ["dart", "scope@paper"]),
        ((), (), []),
    ],
)
def test_names_that_fit_a_pattern_and_are_not_excluded(patterns, exclude, wanted) -> None:
    assert matching(NAMES, patterns, exclude) == wanted


def test_only_wildcards_make_a_pattern() -> None:
    assert [is_pattern(text) for text in ("scope", "scope@64", "vis*", "d?rt", "[ab]c")] == [False, False, *3 * [True]]


@pytest.mark.parametrize(
    ("pattern", "near"), [("viz*", "visionzip"), ("*pruned", "vispruner"), ("scop", "scope"), ("qqqq*", None)]
)
def test_a_pattern_that_fits_no_name_is_refused_with_the_nearest(pattern: str, near: str | None) -> None:
    check_patterns("recipe", NAMES, ["vis*"])
    with pytest.raises(UnknownNameError) as caught:
        check_patterns("recipe", NAMES, ["vis*", pattern])
    hint = f" (did you mean '{near}'?)" if near else ""
    assert str(caught.value) == f"no recipe matches '{pattern}'{hint}. Installed: {', '.join(NAMES)}"
