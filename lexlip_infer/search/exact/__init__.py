"""The exact engine's index: a folder of memory-mapped segments; each change happens whole or not at all.

Format, guarantees and commands: docs/search.md.
"""
