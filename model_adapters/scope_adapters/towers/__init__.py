"""Vision towers: their layouts, and probes that read the attention of single layers."""
