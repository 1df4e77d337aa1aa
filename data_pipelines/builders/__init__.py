"""Data sets written anew for pods: TFDS data sets of a few large files, which buckets serve fast."""
