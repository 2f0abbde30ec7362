"""The training loop: settings from files, optimiser, checkpoints, logs, evaluation. It knows nothing of any loss."""
