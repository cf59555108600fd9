"""Adapters for models scope-core does not own, and the zoo of models and towers that load by name.

The only code of this project that imports transformers or timm, and only inside functions.
"""
