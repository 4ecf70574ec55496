"""What a network is for: task files, calibration data, scores and how certain they are."""
