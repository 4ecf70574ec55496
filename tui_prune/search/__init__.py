"""What the network is for: the user's task file and what it measures."""
