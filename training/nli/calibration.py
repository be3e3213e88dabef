"""One temperature for all logits (Guo et al. 2017, arXiv 1706.04599), and how good the probabilities then are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_LOW, _HIGH = 0.2, 5.0
_BINS = 10


def probabilities(logits: Floats, temperature: float) -> Floats:
    """Softmax of the logits divided by the temperature."""
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def best_temperature(logits: Floats, labels: NDArray[np.int64], weights: Floats) -> float:
    """The temperature with the least weighted log loss, by golden section between 0.2 and 5."""
    golden = (5**0.5 - 1) / 2
    low, high = _LOW, _HIGH
    for _ in range(60):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if log_loss(logits, labels, weights, left) < log_loss(logits, labels, weights, right):
            high = right
        else:
            low = left
    return round((low + high) / 2, 4)


def log_loss(logits: Floats, labels: NDArray[np.int64], weights: Floats, temperature: float) -> float:
    """Weighted mean of the negative logarithm of the probability that the right label got."""
    right = probabilities(logits, temperature)[np.arange(len(labels)), labels]
    return float(-(weights * np.log(np.maximum(right, 1e-12))).sum() / weights.sum())


def calibration_error(given: Floats, labels: NDArray[np.int64]) -> float:
    """Expected calibration error: how far the top label's probability lies from its accuracy, over ten bins."""
    top, right = given.max(axis=1), given.argmax(axis=1) == labels
    bins = np.minimum((top * _BINS).astype(int), _BINS - 1)
    gaps = [abs(float((top[bins == number] - right[bins == number]).sum())) for number in range(_BINS)]
    return sum(gaps) / len(labels)
