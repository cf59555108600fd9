"""The kit for model adapters: identity, invariants, and a model left as it was."""
