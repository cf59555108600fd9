"""Drawing with Pillow: texts, patches of images, pages of panels. Knows plain data only, no tokens."""
