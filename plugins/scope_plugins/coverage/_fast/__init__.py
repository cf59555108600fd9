"""Faster ways to the picks of `scope_plugins.coverage`: compiled for the CPU and for CUDA, and without the matrix."""
