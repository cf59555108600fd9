"""A signal from the model's projector: how much its output changes under small changes of each token.

The tower knows no projector, so you have to supply it::

    sensitivity = ProjectorSensitivity(model.model.multi_modal_projector)
    with scope.Pruner("zooprune@64").attach(model, signals={"projector.sensitivity": sensitivity}):
        model.generate(**inputs)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from scope_core import AttachError, VisualTokens


class ProjectorSensitivity:
    """The signal ``projector.sensitivity``: ``mean_u ||f(x + h u) - f(x - h u)|| / 2h`` for each token x.

    The directions u are normal random vectors, the same for all tokens and calls. ZOO-Prune, CVPR 2026, arXiv
    2509.24837.

    Args:
        projector: ``(..., D) -> (..., E)``: the module that maps the tower's tokens, one by one, to the language model.
        layer: Hidden states of the tower that it reads, counted as in ``hidden_states``.
        directions: Number of random directions.
        step: Length h of a change, as a share of the tokens' mean length.
        seed: Seed of the directions.

    Attributes:
        needs: The signal of the model's tower that is read.
    """

    def __init__(
        self,
        projector: Callable[[Tensor], Tensor],
        *,
        layer: int = -2,
        directions: int = 8,
        step: float = 0.01,
        seed: int = 0,
    ) -> None:
        self.projector, self.directions, self.step, self.seed = projector, directions, step, seed
        self.needs = frozenset({f"vision.hidden[{layer}]"})

    def __call__(self, inputs: Mapping[str, Any], tokens: VisualTokens) -> Tensor:
        """(images, N), at least 0.

        Raises:
            AttachError: the projector does not map tokens one by one.
        """
        hidden = tokens.signal(next(iter(self.needs)))
        weight = next(iter(getattr(self.projector, "parameters", lambda: iter(()))()), hidden)
        hidden = hidden.to(device=weight.device, dtype=weight.dtype)
        draw = torch.Generator().manual_seed(self.seed)
        length = hidden.float().norm(dim=-1)[tokens.valid].mean()
        total = torch.zeros(hidden.shape[:2], device=hidden.device)
        with torch.no_grad():
            for _ in range(self.directions):
                drawn = torch.randn(hidden.shape[-1], generator=draw)
                change = (self.step * length * drawn.to(length) / drawn.norm()).to(hidden)
                ahead, behind = self.projector(hidden + change), self.projector(hidden - change)
                if ahead.shape[:2] != hidden.shape[:2]:
                    raise AttachError(
                        f"the projector gave {tuple(ahead.shape)} for tokens of shape {tuple(hidden.shape)}; "
                        f"sensitivity needs one that maps each token by itself"
                    )
                total += (ahead - behind).float().norm(dim=-1) / (2 * self.step * length)
        return (total / self.directions).to(tokens.features)
