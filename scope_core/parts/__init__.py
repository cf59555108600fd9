"""What each kind of part must do, and how parts are run together."""
