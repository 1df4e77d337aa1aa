"""What is on disk (or made on the spot) as batches of training pairs; TensorFlow is imported only where it is used."""
