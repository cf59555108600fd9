"""Kernels of `scope_plugins.coverage`: the same picks faster, compiled for CPU or CUDA, or without the whole matrix."""
