"""Writes tests/golden/calibration.npz: numbers of several distributions, and the ranges that numpy and scipy find for them.

`x` has a column a distribution. `percentile` has the numbers of each right below its percentiles (100 - p) / 2 and (100 + p) / 2 for p = 99.9, and then those
right above, by numpy. `kl8` and `kl4` the thresholds of
TensorRT's entropy method (S. Migacz, GTC 2017) for 128 and 8 levels, written here as on the slides, with scipy's entropy; the first bin counts as
the second does, as in NVIDIA's pytorch-quantization, so that zeros behind a relu do not outweigh all else.

Run: python scripts/make_calibration_goldens.py   (numpy, scipy 1.17)
"""

import pathlib

import numpy as np
from scipy.stats import entropy

BINS = 2048


def threshold(values, levels):
    """The threshold of magnitudes with the least divergence."""
    counts, edges = np.histogram(np.abs(values.astype(np.float64)), bins=BINS, range=(0, np.abs(values).max()))
    counts[0] = counts[1]
    best, at = np.inf, BINS
    for i in range(levels, BINS + 1):
        reference = counts[:i].astype(np.float64)
        reference[i - 1] += counts[i:].sum()
        candidate = np.zeros(i)
        for level in range(levels):
            low, high = level * i // levels, (level + 1) * i // levels
            filled = counts[low:high] > 0
            if filled.any():
                candidate[low:high][filled] = counts[low:high].sum() / filled.sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            found = entropy(reference, candidate)
        if found < best:
            best, at = found, i
    return min((at + 0.5) * (edges[1] - edges[0]), edges[-1])


rng = np.random.default_rng(11)
count = 6000
normal = rng.normal(size=count)
normal[:6] *= 8
relu = np.maximum(rng.laplace(size=count), 0)
two = np.where(rng.random(count) < 0.2, rng.normal(3, 0.1, count), rng.normal(-1, 0.5, count))
x = np.stack([normal, relu, two], axis=1).astype(np.float32)
np.savez_compressed(
    pathlib.Path(__file__).parent.parent / "tests/golden/calibration.npz",
    x=x,
    percentile=np.ascontiguousarray(np.concatenate([np.percentile(x.astype(np.float64), [0.05, 99.95], axis=0, method=m) for m in ("lower", "higher")]).T.astype(np.float32)),
    kl8=np.array([threshold(column, 128) for column in x.T], dtype=np.float32),
    kl4=np.array([threshold(column, 8) for column in x.T], dtype=np.float32),
)
