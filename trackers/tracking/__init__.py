"""The per-frame loops, how frames are read, and how results are drawn."""
