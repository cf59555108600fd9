"""Hosts: how a framework calls a model, and how a shortened prompt gets through it."""
