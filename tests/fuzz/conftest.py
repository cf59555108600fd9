"""The options of the fuzz tests, and what they report at the end."""

from __future__ import annotations

from typing import Any

import pytest

from fuzz.explore import TALLIES, Amount


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fuzz", "tests/fuzz (give this folder or a file of it as an argument)")
    group.addoption("--fuzz-cases", type=int, default=0, help="random cases of each fuzz test; by default a few")
    group.addoption("--fuzz-seed", type=int, default=0, help="seed of the random cases")
    group.addoption("--fuzz-shrink", action="store_true", help="look for the smallest case that fails, for minutes")


@pytest.fixture(scope="session")
def amount(request: pytest.FixtureRequest) -> Amount:
    """How many cases to draw, from which seed."""
    option = request.config.getoption
    return Amount(option("--fuzz-cases", 0), option("--fuzz-seed", 0), option("--fuzz-shrink", False))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for name, tally in sorted(TALLIES.items()):
        terminalreporter.write_line(f"fuzz {name}: {tally}")
        for text, count in tally.refused.most_common(8):
            terminalreporter.write_line(f"    refused {count}: {text}")
