"""Writes tests/golden/metrics.json: what scikit-learn, scipy and formulas written out here make of random outputs and labels.

Run: python scripts/make_metrics_goldens.py   (numpy, scipy 1.17, scikit-learn 1.9)
"""

import json
import pathlib

import numpy as np
from scipy import stats
from sklearn import metrics

rng = np.random.default_rng(6)
samples, classes = 160, 6
# Class 4 is in no label, and class 5 is never named: averages must count both as nothing.
labels = rng.choice([0, 1, 2, 3, 5], samples, p=[0.4, 0.3, 0.15, 0.1, 0.05])
logits = rng.normal(size=(samples, classes)).astype(np.float32)
logits[np.arange(samples), labels] += 1.2
logits[:, 5] -= 20
named = logits.argmax(axis=1)
every = list(range(classes))


def scores(average):
    found = [f(labels, named, labels=every, average=average, zero_division=0) for f in (metrics.precision_score, metrics.recall_score, metrics.f1_score)]
    return [np.asarray(x).tolist() for x in found]


wanted, found = rng.normal(size=50).astype(np.float32), rng.normal(size=50).astype(np.float32)
found = (wanted + 0.3 * found).astype(np.float32)
w, f = wanted.astype(np.float64), found.astype(np.float64)

other = logits + rng.normal(size=logits.shape).astype(np.float32)
right, right_other = named == labels, other.argmax(axis=1) == labels
only = [int((right & ~right_other).sum()), int((~right & right_other).sum())]

golden = {
    "logits": logits.astype(float).tolist(),
    "other_logits": other.astype(float).tolist(),
    "labels": labels.tolist(),
    "accuracy": metrics.accuracy_score(labels, named),
    "top_k": [metrics.top_k_accuracy_score(labels, logits, k=k, labels=every) for k in range(1, classes)],
    "confusion": metrics.confusion_matrix(labels, named, labels=every).tolist(),
    "scores": {average or "class": scores(average) for average in ("macro", "micro", "weighted", None)},
    "regression": {
        "wanted": w.tolist(),
        "found": f.tolist(),
        "mse": metrics.mean_squared_error(w, f),
        "rmse": metrics.root_mean_squared_error(w, f),
        "mae": metrics.mean_absolute_error(w, f),
        "r2": metrics.r2_score(w, f),
    },
    "wilson": [
        [k, n, confidence, *stats.binomtest(k, n).proportion_ci(confidence, method="wilson")]
        for k, n, confidence in ((9744, 10000, 0.95), (0, 20, 0.95), (20, 20, 0.9), (7, 11, 0.99))
    ],
    # McNemar's exact test is a sign test of the samples on which the two differ.
    "mcnemar": [*only, stats.binomtest(only[0], sum(only), 0.5).pvalue],
}
path = pathlib.Path(__file__).parent.parent / "tests/golden/metrics.json"
path.write_text(json.dumps(golden) + "\n")
print(path, path.stat().st_size, "bytes")
