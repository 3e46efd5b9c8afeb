"""Writes sklearn/cases.json: forests of random parameters on random data, as scikit-learn grows them.

Run once with scikit-learn 1.9: python make_cases.py > sklearn/cases.json
The data are drawn from numpy.random.RandomState(seed) alone, so that the tests can make them again.
"""

import hashlib
import json
import warnings

import numpy as np
from sklearn import ensemble, metrics
from sklearn.base import is_regressor
from sklearn.model_selection import StratifiedKFold, train_test_split

N_CASES = 96


def sha256(array, kind):
    return hashlib.sha256(np.ascontiguousarray(array, dtype=kind).tobytes()).hexdigest()


def data(case):
    stream = np.random.RandomState(case["seed"])
    x = stream.standard_normal((case["n_samples"], case["n_features"]))
    if case["decimals"] is not None:
        scale = 10.0 ** case["decimals"]
        x = np.rint(x * scale) / scale
    noise = stream.random_sample(case["n_samples"])
    y = 2.0 * x[:, 0] - x[:, -1] + noise
    if case.get("quarters"):
        y = np.rint(4.0 * y) / 4.0
    if case["n_classes"]:
        y = np.clip(np.floor(y + case["n_classes"] / 2), 0, case["n_classes"] - 1).astype(int)
    x[stream.random_sample(x.shape) < case["missing"]] = np.nan
    return x, y


def weights(case):
    """What rows weigh: nothing said, whole numbers or fractions, some of them 0."""
    kind = case.get("weights")
    if kind is None:
        return None
    drawn = np.random.RandomState(case["seed"] ^ 2).random_sample(case["n_samples"])
    return np.floor(4.0 * drawn) if kind == "whole" else np.where(drawn < 0.1, 0.0, drawn)


def parameters(rng, regressor, n_samples, n_features):
    pick = lambda *values: values[rng.randint(len(values))]
    params = {
        "n_estimators": int(rng.randint(1, 5)),
        "max_depth": pick(None, None, 1, 3, 8),
        "min_samples_split": pick(2, 2, 5, 0.1),
        "min_samples_leaf": pick(1, 1, 1, 3, 0.05),
        "min_weight_fraction_leaf": pick(0.0, 0.0, 0.05),
        # A count may be larger than there are features, then all are looked at.
        "max_features": pick("sqrt", "log2", None, 0.5, 1, 1.0, int(rng.randint(1, n_features + 3))),
        "max_leaf_nodes": pick(None, None, 5, 20),
        "min_impurity_decrease": pick(0.0, 0.0, 0.0, 0.01),
        "bootstrap": bool(rng.randint(2)),
        "random_state": int(rng.randint(2**31)),
        "ccp_alpha": pick(0.0, 0.0, 0.005),
    }
    params["criterion"] = "squared_error" if regressor else pick("gini", "gini", "entropy", "log_loss")
    if params["bootstrap"]:
        params["max_samples"] = pick(None, None, 0.5, n_samples // 3, n_samples + n_samples // 3)
        params["oob_score"] = bool(rng.randint(2))
    if not regressor:
        params["class_weight"] = pick(None, None, "balanced", "balanced_subsample", {"0": 2.0, "1": 0.3})
    return params


def arguments(case):
    """The parameters as scikit-learn takes them: every label's weight, under a number."""
    weights = case["params"].get("class_weight")
    if not isinstance(weights, dict):
        return dict(case["params"])
    every = {label: weights.get(str(label), 1.0) for label in range(case["n_classes"])}
    return case["params"] | {"class_weight": every}


def measures(y, output, regressor, n_classes):
    if regressor:
        return {
            "r2": metrics.r2_score(y, output),
            "mse": metrics.mean_squared_error(y, output),
            "mae": metrics.mean_absolute_error(y, output),
        }
    guess = output.argmax(axis=1)
    score = metrics.roc_auc_score(y, output[:, 1]) if n_classes == 2 else metrics.roc_auc_score(y, output, multi_class="ovr")
    return {
        "accuracy": metrics.accuracy_score(y, guess),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, guess),
        "log_loss": metrics.log_loss(y, output),
        "roc_auc": score,
        "f1_macro": metrics.f1_score(y, guess, average="macro"),
        "f1_weighted": metrics.f1_score(y, guess, average="weighted"),
        "confusion_matrix": metrics.confusion_matrix(y, guess).tolist(),
    }


def missing_go_to_left(tree):
    """What cuts do with missing values; leaves do nothing with them."""
    return tree.missing_go_to_left.astype(int) * (tree.children_left >= 0)


def hashes(trees):
    return [
        {
            "node_count": int(tree.tree_.node_count),
            "feature_sha256": sha256(tree.tree_.feature, "<i8"),
            "threshold_sha256": sha256(tree.tree_.threshold, "<f8"),
            "children_left_sha256": sha256(tree.tree_.children_left, "<i8"),
            "children_right_sha256": sha256(tree.tree_.children_right, "<i8"),
            "missing_go_to_left_sha256": sha256(missing_go_to_left(tree.tree_), "<i8"),
            "impurity_sha256": sha256(tree.tree_.impurity, "<f8"),
            "n_node_samples_sha256": sha256(tree.tree_.n_node_samples, "<i8"),
            "weighted_n_node_samples_sha256": sha256(tree.tree_.weighted_n_node_samples, "<f8"),
            "value_sha256": sha256(tree.tree_.value, "<f8"),
        }
        for tree in trees
    ]


def fitted(trees, output, model):
    return {
        "trees": hashes(trees),
        "output_sha256": sha256(output, "<f8"),
        # NaN where there are splits and none decreases impurity: Regrove's are 0.
        "feature_importances": np.nan_to_num(model.feature_importances_).tolist(),
    }


def with_holes(case, x):
    """The rows with every fifth value or so missing, whatever was missing in training."""
    return np.where(np.random.RandomState(case["seed"] ^ 1).random_sample(x.shape) < 0.2, np.nan, x)


def answer(model, x):
    return model.predict(x) if is_regressor(model) else model.predict_proba(x)


def describe(case, trees, output, model, x, y):
    """Adds what a fitted model of these trees is and answers."""
    case |= fitted(trees, output, model)
    case["output_with_holes_sha256"] = sha256(answer(model, with_holes(case, x)), "<f8")
    asked = case["params"].get("oob_score")
    case["oob_score"] = float(model.oob_score_) if asked else None
    held_out = getattr(model, "oob_prediction_" if not case["n_classes"] else "oob_decision_function_", None)
    case["oob_output_sha256"] = sha256(held_out, "<f8") if asked else None
    case["measures"] = measures(y, output, not case["n_classes"], case["n_classes"])
    return case


def make(number, weighted=False):
    """A case, or None if a class has too few rows to be split and measured, or rows without weights only."""
    rng = np.random.RandomState(number)
    estimator = ["RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"][number % 4]
    regressor = estimator.endswith("Regressor")
    case = {
        "seed": number,
        "n_samples": int(rng.randint(30, 300)),
        "n_features": int(rng.randint(1, 12)),
        "n_classes": 0 if regressor else int(rng.randint(2, 5)),
        "decimals": [None, 0, 1][rng.randint(3)],
        "missing": float([0.0, 0.0, 0.02, 0.3][rng.randint(4)]),
        "estimator": estimator,
    }
    params = parameters(rng, regressor, case["n_samples"], case["n_features"])
    if weighted:
        case["weights"] = [None, "whole", "fractions"][rng.randint(3)]
        case["quarters"] = bool(rng.randint(2))
    x, y = data(case)
    if not regressor and np.bincount(y, minlength=case["n_classes"]).min() < 2:
        return None
    if not regressor and np.bincount(y, weights(case)).min() == 0.0:
        return None
    # scikit-learn knows such constraints for numbers and two classes.
    if case["n_classes"] in (0, 2) and rng.randint(2):
        params["monotonic_cst"] = [int(sign) for sign in rng.randint(-1, 2, case["n_features"])]
    case["params"] = params
    model = getattr(ensemble, estimator)(**arguments(case)).fit(x, y, weights(case))
    output = answer(model, x)
    describe(case, model.estimators_, output, model, x, y)
    if not regressor:
        train, test = train_test_split(np.arange(len(y)), stratify=y, test_size=0.25, random_state=number)
        case["split"] = [train.tolist(), test.tolist()]
        case["folds"] = []
        for shuffle in (False, True):
            parts = StratifiedKFold(3, shuffle=shuffle, random_state=number if shuffle else None).split(x, y)
            folds = np.zeros(len(y), dtype=int)
            for part, (_, test) in enumerate(parts):
                folds[test] = part
            case["folds"].append(folds.tolist())
    return case


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print("[\n" + ",\n".join(json.dumps(make(number)) for number in range(N_CASES)) + "\n]")
