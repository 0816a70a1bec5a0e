"""Ways in for systems that do not sign themselves: JSON becomes events, and the node signs for its own members."""
