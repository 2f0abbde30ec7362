"""How fast a model runs here, stage by stage, and how far that is from what the machine could do."""
