"""Pruning inside vLLM, as a plugin: vLLM itself is not changed.

vLLM calls `register`. `geometry`, `servable` and `served` work without vLLM: they decide which models can be served,
and how many tokens an image gets. `processing`, `model`, `worker` and `tower` run in vLLM's processes.
"""
