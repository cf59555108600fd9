"""What the installed versions of other libraries offer: asked of their signatures, never of their version numbers."""
