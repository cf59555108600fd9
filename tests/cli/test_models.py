"""``scope models``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cli.conftest import Ran
from scope_core.cli import packages


def test_the_zoo(fake: Callable[..., Ran]) -> None:
    rows = {row["name"]: row for row in fake("models", "--json").json}
    assert rows == {row["name"]: row for row in fake("models", "list", "--json").json}
    assert (rows["fake-tower"]["kind"], rows["fake-tower"]["cached"], rows["fake-tower"]["missing"]) == (
        "tower",
        True,
        [],
    )
    assert rows["fake-broken"]["cached"] is False
    assert rows["fake-model"]["cached"] is None
    assert rows["fake-needy"]["missing"] == ["no-such-package-anywhere"]
    assert rows["fake-model"]["adapter"] == "llava"
    words = fake("models", "list").words
    for wanted in ("in the cache", "to be fetched", "no-such-package-anywhere", "dinov2-small *", "22M MIT"):
        assert wanted in words


def test_one_entry_of_each_kind_is_the_default(scope_: Callable[..., Ran]) -> None:
    rows = scope_("models", "--json").json
    assert sorted(row["kind"] for row in rows if row["default"]) == ["model", "tower"]


def test_fetch(fake: Callable[..., Ran]) -> None:
    ran = fake("models", "fetch", "fake-tower", "fake-model", "--json")
    assert [row["name"] for row in ran.json] == ["fake-tower", "fake-model"]
    assert "fake-tower is ready" in fake("models", "fetch", "fake-tower").stderr
    assert fake("models", "fetch", "fake-broken").code == 4


def test_adapters(scope_: Callable[..., Ran]) -> None:
    assert "llava" in [row["name"] for row in scope_("models", "adapters", "--json").json]
    assert "LLaVA-1.5" in scope_("models", "adapters").words


def test_extras_are_read_from_the_distribution() -> None:
    extras = packages.extra_packages("scope-core")
    assert ("torch", "2.4") in extras[""]
    assert "transformers" in [package for package, _ in extras["hf"]]
    assert packages.extra_packages("no-such-package-anywhere") == {}


def test_an_extra_is_missing_if_one_of_its_packages_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packages.missing_packages(("scope-core[hf]",)) == []
    have = packages.installed
    monkeypatch.setattr(packages, "installed", lambda package: None if package == "onnx" else have(package))
    assert packages.missing_packages(("scope-core[hf]",)) == ["scope-core[hf]"]
