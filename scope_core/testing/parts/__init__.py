"""The kit for parts: the properties that each kind of part must have."""
