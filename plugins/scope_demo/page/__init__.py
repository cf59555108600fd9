"""The page: one file a section, and what they share. The only package here that imports Gradio."""
