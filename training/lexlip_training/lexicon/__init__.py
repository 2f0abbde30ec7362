"""The lexicon that a model starts from: which words it can say, what they mean, which of them a class is called by."""
