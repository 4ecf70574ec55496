"""What a network can bear, and which recipe suits it."""
