"""Adapters for models of other libraries, and the zoo of models and towers that load by name.

No other code of this project imports transformers or timm.
"""
