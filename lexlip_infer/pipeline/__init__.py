"""From a folder of images or a file of texts to shards of impact vectors on disk, with nothing lost on the way."""
