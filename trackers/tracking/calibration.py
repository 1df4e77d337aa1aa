"""Similarity calibration (iKUN, CVPR 2024, Sec. 3.3): how often did training mean something like this phrase?

Descriptions have a long tail, so that a network is too shy with phrases that training saw rarely and the more so with
those it never saw. A phrase of the test set is given the frequencies of the training phrases that are most like it,
and the scores of its clips rise with that.
"""

import numpy as np


def pseudo_frequency(features, train_features, frequency, tau=100.0):
    """How frequent a phrase would be, judged by the training phrases.

    Args:
      features: (P,E) text features of the phrases, of unit length (CLIP ViT-B/32 in the program).
      train_features: (Q,E) of the training phrases.
      frequency: (Q,) share of the training boxes that each of them means.
      tau: sharpness; large = the most similar phrase alone decides.

    Returns: (P,) float64. Where all training phrases are equally similar: their mean frequency.
    """
    like = np.asarray(features, np.float64) @ np.asarray(train_features, np.float64).T
    low, high = like.min(axis=1, keepdims=True), like.max(axis=1, keepdims=True)
    like = (like - low) / np.where(high > low, high - low, 1.0)
    # Its maximum is 1, which comes off before the exponential.
    weights = np.exp(tau * (like - 1.0))
    return weights @ np.asarray(frequency, np.float64) / weights.sum(axis=1)


def calibrate(scores, frequency, a=8.0, b=-0.1):
    """scores + (a * frequency + b), the program's a and b by default; float64, arrays of any shape that broadcast."""
    return np.asarray(scores, np.float64) + (a * np.asarray(frequency, np.float64) + b)
