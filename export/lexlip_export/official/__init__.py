"""Official LexLIP checkpoints in: the file is read without running anything in it, every tensor in it is accounted for.

An official checkpoint is what pytorch-lightning 1.3 wrote for the code of the paper (ChiYeungLaw/LexLIP-ICCV23): Phase
1, Phase 2 or fine-tuning. Nothing here needs Lightning or Sacred.
"""
