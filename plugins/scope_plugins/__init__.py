"""scope-core's built-in parts, registered through entry points alone, as a third-party package registers its own."""
