"""What the network is for: task files, scores and how certain they are, calibration data."""
