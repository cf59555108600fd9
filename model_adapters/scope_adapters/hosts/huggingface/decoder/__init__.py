"""Pruning between the layers of a language model."""
