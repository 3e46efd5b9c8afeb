"""CPU time of other programs that fit a reference workload of `bench-forest`, one thread each.

    fit.py '{"n_samples": …, "params": {…}, "trees": …, "peers": […]}'

First one JSON line `{"peer": {"version": …, "trees": …, "score": …} | {"error": …}}`: each program has fitted once, and
predicted the held-out rows. Then, for every line `{"peer": …}` on standard input, one line with the CPU seconds of a fit,
scaled linearly from `trees` to all trees. Everybody gets the same rows in float32; reading them is not counted.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lightgbm
import numpy as np
import sklearn
from sklearn import ensemble
from sklearn.datasets import make_classification, make_regression
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split

N_FEATURES = 20
# LightGBM has no unlimited trees, and makes room for all leaves that it may have.
LEAVES_MAX = 131_072


class Data:
    def __init__(self, n_samples, regression):
        self.regression = regression
        size = {"n_samples": n_samples, "n_features": N_FEATURES, "n_informative": 10, "random_state": 42}
        X, y = make_regression(**size) if regression else make_classification(**size, n_redundant=10, n_classes=2)
        classes = None if regression else y
        parts = train_test_split(X.astype(np.float32), y, test_size=0.2, random_state=0, stratify=classes)
        self.X, self.X_test, self.y, self.y_test = parts

    def score(self, answers):
        """Accuracy of labels, or of probabilities of the second class; R² of numbers."""
        return float(r2_score(self.y_test, answers) if self.regression else accuracy_score(self.y_test, answers > 0.5))


def features_per_node(params):
    share = params["max_features"]
    shares = {"sqrt": N_FEATURES ** -0.5, None: 1.0}
    return max(1, int(shares.get(share, share) * N_FEATURES))


def is_extra(params):
    return params["estimator"].startswith("ExtraTrees")


def timed(work):
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


class ScikitLearn:
    def __init__(self, data, params, trees):
        names = ["max_depth", "max_features", "random_state", "criterion"]
        self.data, self.trees, self.version = data, trees, sklearn.__version__
        self.params = {name: params[name] for name in names if name in params}
        self.kind = getattr(ensemble, params["estimator"])

    def fit(self):
        forest = self.kind(n_estimators=self.trees, n_jobs=1, **self.params)
        forest, seconds = timed(lambda: forest.fit(self.data.X, self.data.y))
        return lambda: self.data.score(forest.predict(self.data.X_test)), seconds


class LightGbm:
    """Its random forest: rows without replacement, 63 % of them, which is as many distinct ones as a bootstrap has.

    Extremely randomised trees, which it has too, are given the same part of the rows: its forest insists on one.
    """

    def __init__(self, data, params, trees):
        self.data, self.trees, self.version = data, trees, lightgbm.__version__
        depth = params["max_depth"]
        self.params = {
            "boosting": "rf", "extra_trees": is_extra(params), "objective": "regression" if data.regression else "binary", "bagging_freq": 1, "bagging_fraction": 0.632,
            "feature_fraction_bynode": features_per_node(params) / N_FEATURES, "max_depth": depth or -1,
            "num_leaves": min(LEAVES_MAX, len(data.X), 2 ** min(depth or 17, 17)), "min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 0,
            "num_threads": 1, "verbosity": -1, "seed": params["random_state"],
        }

    def fit(self):
        def work():
            rows = lightgbm.Dataset(self.data.X, self.data.y, params={"verbosity": -1})
            return lightgbm.train(self.params, rows, num_boost_round=self.trees)

        model, seconds = timed(work)
        return lambda: self.data.score(model.predict(self.data.X_test)), seconds


class Ranger:
    """R's ranger (C++), in a process of its own that times its fit by itself."""

    def __init__(self, data, params, trees):
        self.data, self.trees = data, trees
        self.folder = tempfile.TemporaryDirectory()
        for name, rows in [("X", data.X), ("X_test", data.X_test)]:
            np.asfortranarray(rows, np.float64).ravel(order="F").tofile(Path(self.folder.name) / name)
        data.y.astype("<f8").tofile(Path(self.folder.name) / "y")
        kind = "numbers" if data.regression else "classes"
        cuts = "random" if is_extra(params) else "best"
        self.arguments = [len(data.X), len(data.X_test), trees, features_per_node(params), params["max_depth"] or 0, kind, cuts]

    def fit(self):
        script = Path(__file__).parent / "fit_ranger.R"
        command = ["Rscript", "--vanilla", script, self.folder.name, *map(str, self.arguments)]
        said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        self.version = said["version"]
        answers = np.fromfile(Path(self.folder.name) / "answers", "<f8")
        return lambda: self.data.score(answers), said["seconds"]


PEERS = {"scikit-learn": ScikitLearn, "LightGBM": LightGbm, "ranger": Ranger}


def main():
    # Libraries may write to standard output; answers go where it was.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    wish = json.loads(sys.argv[1])
    params, trees = wish["params"], wish["trees"]
    data = Data(wish["n_samples"], params["estimator"].endswith("Regressor"))
    peers, report = {}, {}
    for name in wish["peers"]:
        try:
            peer = PEERS[name](data, params, trees)
            score, _ = peer.fit()
            report[name] = {"version": peer.version, "trees": trees, "score": score()}
            peers[name] = peer
        except subprocess.CalledProcessError as error:
            report[name] = {"error": f"{error}: {error.stderr.strip()}"}
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            report[name] = {"error": repr(error)}
    print(json.dumps(report), file=answers, flush=True)
    for line in sys.stdin:
        _, seconds = peers[json.loads(line)["peer"]].fit()
        print(seconds * params["n_estimators"] / trees, file=answers, flush=True)


main()
