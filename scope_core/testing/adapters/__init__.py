"""The kit for model adapters: the properties that an adapter must have."""
