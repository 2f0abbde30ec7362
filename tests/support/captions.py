"""Texts that small vocabularies are made of."""

CAPTIONS = [
    "A black dog runs through the green grass .",
    "Two children play football on a sunny beach .",
    "A man in a red jacket climbs a snowy mountain .",
    "A woman rides a brown horse near the water .",
    "Several people sit at a table and drink coffee .",
    "A small white cat sleeps on an old wooden chair .",
]
