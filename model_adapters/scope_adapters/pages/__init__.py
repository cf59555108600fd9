"""Pages about methods, written from recipes: `method_page`, and `scope page` on the command line."""
