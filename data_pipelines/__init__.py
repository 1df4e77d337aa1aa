"""Training batches from data sets on disk and from procedural video.

loader.py hands out the batches of a data kind: pairs.py, clips.py or trajectories.py, chosen by config.data.name.
sources/ reads data sets on disk, unlabelled/ makes pairs of pictures without boxes, procedural/ makes video
with boxes or phrases. TensorFlow is imported only where it is used.
"""
