"""The core knows no part by name: there is no default list in code, and no name ladder.

String literals of `scope_core` (docstrings aside) are compared with every name that this distribution
registers. A literal may be an ordinary word that happens to be a part's name as well; those are listed here
with what they mean in the core.
"""

from __future__ import annotations

import scope_core as scope
from architecture.sources import sources

WORDS = {
    "image": "a unit of budgets and plans, a field of VisualTokens, a column of tables",
    "tile": "likewise",
    "frame": "likewise",
    "video": "likewise",
    "prompt": "likewise",
    "tokens": "a key of receipts and selections in JSON",
    "none": "the word for an empty list in messages",
    "scope": "the name of the command",
    "ratio": "an option of table columns",
    "kernel": "an attribute of coverage functions, and one of the ways to make picks",
}


def test_core_holds_no_registered_name() -> None:
    registry = scope.default_registry()
    names = {
        record.name: kind
        for kind in registry.kinds()
        for record in registry.records(kind)
        if record.origin.distribution == "scope-core"
    }
    found = [
        f"{source.module}, line {line}: {text!r} is the name of a {names[text]}"
        for source in sources("scope_core")
        for text, line in source.strings()
        if text in names and text not in WORDS
    ]
    assert not found, "\n".join(found)


def test_the_list_of_words_holds_no_more_than_it_must() -> None:
    used = {text for source in sources("scope_core") for text, _ in source.strings()}
    assert set(WORDS) <= used
