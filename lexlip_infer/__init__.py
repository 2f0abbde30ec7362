"""lexlip_infer: images and texts become sparse word vectors for an inverted index."""
