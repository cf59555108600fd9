"""Features of the installed versions of other libraries, found from their code, never from version numbers."""
