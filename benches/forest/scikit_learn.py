"""Fit and predict times of scikit-learn in CPU seconds, as JSON. Called by `bench-forest` with one JSON argument."""

import json
import statistics
import sys
import time

import numpy as np
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

request = json.loads(sys.argv[1])
asked = request["params"]
names = ["max_depth", "max_features", "random_state", "criterion"]
params = {name: asked[name] for name in names if name in asked}
X, y = make_classification(
    n_samples=request["n_samples"], n_features=20, n_informative=10, n_redundant=10, n_classes=2, random_state=42
)
X = X.astype(np.float32)
X_train, _, y_train, _ = train_test_split(X, y, test_size=0.2, random_state=0, stratify=y)


def median(work, repeats):
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def fit(trees):
    return RandomForestClassifier(n_estimators=trees, n_jobs=1, **params).fit(X_train, y_train)


def per_row(rows_per_call, calls):
    parts = [X[i * rows_per_call:(i + 1) * rows_per_call] for i in range(calls)]

    def work():
        for part in parts:
            model.predict_proba(part)

    work()
    return median(work, repeats) * 1e6 / (rows_per_call * calls)


repeats, trees = request["repeats"], request["trees"]
n_estimators = asked["n_estimators"]
# Large fits are not repeated: they take long enough to be steady.
fit_repeats = repeats if request["n_samples"] <= 10_000 else 1
fit_time = median(lambda: fit(trees), fit_repeats) * n_estimators / trees
model = fit(n_estimators if request["n_samples"] <= 10_000 else trees)
scale = n_estimators / len(model.estimators_)
all_rows = min(len(X), 100_000)
print(json.dumps({
    "fit": fit_time,
    "one_row": per_row(1, 50) * scale,
    "thousand_rows": per_row(1000, 2) * scale,
    "all_rows": per_row(all_rows, 1) * scale,
}))
