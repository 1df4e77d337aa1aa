"""Sources that are made on the spot: video/ (pairs and sequences of one object) and people/ (clips with phrases)."""
