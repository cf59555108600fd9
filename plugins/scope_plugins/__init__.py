"""scope-core's built-in parts, shipped as a stranger's package would ship them: through entry points only."""
