"""Vision towers: where their attention is, and one-layer probes that read it."""
