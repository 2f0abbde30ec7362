"""Export of trained LexLIP models to bundles."""
