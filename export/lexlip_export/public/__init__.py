"""Lexicon models that others have published, as bundles: VDR cross-modal, and D2S on the towers of BLIP or ALBEF.

Each importer is total on names: a tensor that it does not know, or misses, is an error that names it.
"""
