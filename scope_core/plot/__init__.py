"""Pictures of selections: what is kept, in which order, what covers what, and coverage over budget.

    import scope_core as scope

    scope.plot.kept(image, selection, view=tower.view)
    scope.plot.compare(image, {"scope@64": one, "random@64": other}, view=tower.view)

Overlays are Pillow images; curves are matplotlib axes (`pip install 'scope-core[plot]'`). Notebooks show both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_core.faces import lazy

if TYPE_CHECKING:
    from scope_core.plot.curves import coverage_curve as coverage_curve
    from scope_core.plot.overlays import compare as compare
    from scope_core.plot.overlays import coverage_map as coverage_map
    from scope_core.plot.overlays import kept as kept
    from scope_core.plot.overlays import order as order

_HOMES = {
    "plot.curves": "coverage_curve",
    "plot.overlays": "compare coverage_map kept order",
}

if not TYPE_CHECKING:  # type checkers read the imports above, and report unknown names
    __getattr__, __dir__, __all__ = lazy(__name__, _HOMES)
