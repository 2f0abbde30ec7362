"""Dense vectors in Faiss, the baseline."""
