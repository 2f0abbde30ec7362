"""How well a model finds what it should: ranks, recall, significance."""
