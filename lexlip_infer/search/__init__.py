"""Search over encoded collections, and how good it is."""
