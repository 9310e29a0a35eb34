"""Making the model that a file holds the weights of, without its weights: for engines that draw calls, not names."""
