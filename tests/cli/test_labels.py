"""Labels of methods are different for different specs."""

from __future__ import annotations

from scope_core.cli.labels import told_apart


def test_equal_labels_get_the_file_or_a_number() -> None:
    assert told_apart(["m"] * 3, ["", "x/one.yaml", "y/one.yaml"]) == ["m", "m (one.yaml)", "m (2)"]
    assert told_apart(["m", "n"], ["", ""]) == ["m", "n"]
