"""Hosts: the way a framework calls its models, and the way a shortened prompt passes through them."""
