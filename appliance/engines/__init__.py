"""Models behind one small interface per kind."""
