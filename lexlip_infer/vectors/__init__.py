"""Sparse vectors in memory."""
