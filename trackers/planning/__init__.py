"""What a training run will cost on hardware that is not here, from the program that its compiler makes of it.

topologies: the chips of a slice and their links. steps: the step that is planned. program: what a compiled program
executes. groups: which devices take part in a collective. prediction: time and memory. bundles: cycles of kernels.
cards: NVIDIA cards that are not here, by formula. reports, sweep_plots: tables and pictures.
"""
