"""Pruning inside vLLM, by its plugin mechanism: nothing of vLLM is changed.

`register` is the entry point that vLLM calls. `geometry`, `servable` and `served` work without vLLM and say what can be
served and how many tokens a picture gets; `processing`, `model`, `worker` and `tower` run in vLLM's processes.
"""
