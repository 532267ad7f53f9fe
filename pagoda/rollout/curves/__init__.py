"""What a rollout's gates measured over its life: kept by its driver, thinned, and read by whoever asks."""
