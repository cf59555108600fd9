"""The steps of ``generate`` that count or read the prompt, in the installed transformers."""

from __future__ import annotations

from typing import Any

from scope_adapters.compat.signatures import parameters

STEPS = (
    "_prepare_generated_length",
    "_validate_generated_length",
    "_get_logits_processor",
    "_get_stopping_criteria",
)
"""Methods of a model in which ``generate`` sets limits, checks them, and builds processors and criteria."""


def missing_steps(model: Any) -> list[str]:
    """The names of `STEPS` that a model does not have."""
    return [name for name in STEPS if not hasattr(model, name)]


def own_options(model: Any) -> frozenset[str]:
    """The names of arguments that ``generate`` reads itself and does not pass to the model."""
    from transformers import GenerationConfig

    return parameters(type(model).generate) | set(vars(GenerationConfig())) - {"logits_to_keep"}
