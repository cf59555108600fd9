"""The kit for parts: every property a part of a kind has to have."""
