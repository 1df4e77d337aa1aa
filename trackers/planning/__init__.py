"""What a training run will cost on hardware that is not at hand, from the program that its compiler makes of it.

chips: published peaks. topologies: the chips of a slice and their links. program: what a compiled program executes.
prediction: time and memory. reports, figures: tables and pictures.
"""
