"""The scenes task: emoji on photographs. `task.Scenes` is the task; nothing here runs at import."""
