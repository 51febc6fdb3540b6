"""Scores of whole samples, from those of the package for single joints and classes."""

from mmkd_classroom.functional import (
    correct_keypoints,
    item_weights,
    keypoint_similarity,
    log_likelihood,
)


def oks(prediction, truth, labelled, area, sigmas):
    return _mean(keypoint_similarity(prediction, truth, area, sigmas), labelled)


def pck(prediction, truth, labelled, normaliser, thr):
    return _mean(correct_keypoints(prediction, truth, normaliser, thr), labelled)


def true_class_probability(logits, target):
    return log_likelihood(logits, target).exp()


def _mean(values, labelled):
    return (values * item_weights(labelled)).sum(dim=-1)
