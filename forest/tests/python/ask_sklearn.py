"""Writes what scikit-learn answers for cases drawn at random.

Usage: ask_sklearn.py SEED N_FORESTS > cases.json
The product in make_regression has NumPy's bits of one thread; the caller sets OPENBLAS_NUM_THREADS=1.
"""

import copy
import hashlib
import importlib.util
import json
import pathlib
import sys
import warnings

import numpy as np
from sklearn import datasets, ensemble, inspection, metrics, tree
from sklearn.model_selection import KFold, StratifiedKFold, cross_validate, train_test_split

here = pathlib.Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("make_cases", here.parent.parent / "testdata" / "make_cases.py")
make_cases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_cases)
warnings.simplefilter("ignore")


def sha256(array):
    return hashlib.sha256(np.ascontiguousarray(array, dtype="<f8").tobytes()).hexdigest()


# NumPy's library sums products of more informative features than this in several orders, and those of a single row.
WIDTH_OF_EQUAL_BITS = 15


def has_lone_row(params):
    """Whether a class, which is one cluster, has one row."""
    n_samples, n_classes = params["n_samples"], params["n_classes"]
    shares = params["weights"] or [1.0 / n_classes] * n_classes
    shares = shares + [1.0 - sum(shares)] * (n_classes - len(shares))
    sizes = [int(n_samples * share) for share in shares]
    for extra in range(n_samples - sum(sizes)):
        sizes[extra % n_classes] += 1
    return 1 in np.diff(np.minimum(np.cumsum([0, *sizes]), n_samples))


def regression_data(rng):
    params = {
        "n_samples": int(rng.randint(2, 200)),
        "n_features": int(rng.randint(1, 40)),
        "n_informative": int(rng.randint(0, 40)),
        "bias": float(rng.choice([0.0, 1.5, -20.0])),
        "noise": float(rng.choice([0.0, 0.1, 7.0])),
        "shuffle": bool(rng.randint(2)),
        "random_state": int(rng.randint(2**31)),
    }
    x, y, coef = datasets.make_regression(**params, coef=True)
    return {"params": params, "x": sha256(x), "y": sha256(np.atleast_1d(y)), "coef": sha256(np.atleast_1d(coef))}


def classification_data(rng, informative):
    redundant, repeated = int(rng.randint(3)), int(rng.randint(3))
    params = {
        "n_samples": int(rng.randint(20, 200)),
        "n_features": informative + redundant + repeated + int(rng.randint(5)),
        "n_informative": informative,
        "n_redundant": redundant,
        "n_repeated": repeated,
        "n_classes": int(rng.randint(2, 4)),
        "n_clusters_per_class": 1,
        "flip_y": float(rng.choice([0.0, 0.05, 0.5])),
        "class_sep": float(rng.choice([1.0, 0.3])),
        "hypercube": bool(rng.randint(2)),
        "shuffle": bool(rng.randint(2)),
        "random_state": int(rng.randint(2**31)),
    }
    shares = rng.dirichlet(np.ones(params["n_classes"])) * rng.choice([0.9, 1.0, 1.2])
    # Where the last class gets the rest, Python before 3.12 rounds the sum of the others in another way than after.
    params["weights"] = [None, shares.tolist(), [0.25] * (params["n_classes"] - 1)][rng.randint(3)]
    each = rng.uniform(-3.0, 3.0, params["n_features"])
    params["shift"] = [0.0, -0.7, None, each.tolist()][rng.randint(4)]
    params["scale"] = [1.0, 2.5, None, each.tolist()][rng.randint(4)]
    arrays = {name: np.array(value) for name, value in params.items() if isinstance(value, list)}
    x, y = datasets.make_classification(**params | arrays)
    if informative > WIDTH_OF_EQUAL_BITS or has_lone_row(params):
        return {"params": params, "values": x.ravel().tolist(), "y": sha256(y.astype(float))}
    return {"params": params, "x": sha256(x), "y": sha256(y.astype(float))}


def areas(rng):
    n_classes = int(rng.randint(2, 6))
    n = int(rng.randint(4 * n_classes, 200))
    y = np.concatenate([np.arange(n_classes), rng.randint(n_classes, size=n - n_classes)])
    proba = np.round(rng.dirichlet(np.ones(n_classes), n), int(rng.choice([1, 3, 17])))
    proba[:, -1] = 1.0 - proba[:, :-1].sum(axis=1)
    kinds = [(pairs, average) for pairs in ("ovr", "ovo") for average in ("macro", "weighted")]
    score = proba[:, 1] if n_classes == 2 else proba
    found = [metrics.roc_auc_score(y, score, multi_class=pairs, average=average) for pairs, average in kinds]
    return {"n_classes": n_classes, "y": y.tolist(), "proba": proba.ravel().tolist(), "expected": found}


def large(rng, n_features, max_features):
    """Two classes, so many rows that cuts are searched by ranks, and few enough features per node."""
    informative = int(rng.randint(2, 8))
    params = {
        "n_samples": int(rng.randint(5_000, 30_000)) if n_features < 100 else 5_000,
        "n_features": n_features,
        "n_informative": informative,
        "n_redundant": int(rng.randint(n_features - informative + 1)) if n_features < 100 else 20,
        "n_clusters_per_class": 1,
        "flip_y": float(rng.choice([0.01, 0.2])),
        "class_sep": float(rng.choice([1.0, 0.3])),
        "random_state": int(rng.randint(2**31)),
    }
    x, y = datasets.make_classification(**params)
    case = {"data": {"params": params, "x": sha256(x), "y": sha256(y.astype(float))}}
    case |= {"decimals": [None, 1, 3][rng.randint(3)], "missing": float(rng.choice([0.0, 0.01]))}
    if case["decimals"] is not None:
        x = np.rint(x * 10.0 ** case["decimals"]) / 10.0 ** case["decimals"]
    x[np.random.RandomState(params["random_state"]).random_sample(x.shape) < case["missing"]] = np.nan
    case["estimator"] = "RandomForestClassifier"
    bootstrap = bool(rng.randint(3))
    case["params"] = {
        "n_estimators": int(rng.randint(2, 4)),
        "max_features": max_features,
        "max_depth": [None, None, 9][rng.randint(3)],
        "max_leaf_nodes": [None, None, 200][rng.randint(3)],
        "bootstrap": bootstrap,
        "max_samples": [None, 1.5][rng.randint(2)] if bootstrap else None,
        # Without bootstrap rows would weigh fractions, which the search by ranks does not take.
        "class_weight": [None, "balanced"][rng.randint(2)] if bootstrap else None,
        "random_state": int(rng.randint(2**31)),
    }
    model = ensemble.RandomForestClassifier(**case["params"], n_jobs=2).fit(x, y)
    # Threads would add the trees' answers up in any order.
    model.set_params(n_jobs=1)
    return case | make_cases.fitted(model.estimators_, model.predict_proba(x), model)


def in_order(rng, family, n_classes, decimals):
    """Sums that are rounded, in nodes of all sizes: their order is that of introsort, where values are equal, or of random cuts.

    The least value that a random cut may have is the first of zeros of both signs, where others are missing.
    """
    extra = family == "ExtraTrees"
    n_features = int(rng.randint(3, 70))
    case = {
        "seed": int(rng.randint(2**31)),
        "n_samples": int(rng.randint(1000, 8000 if n_features < 20 else 3000)),
        "n_features": n_features,
        "n_classes": n_classes,
        "decimals": decimals,
        "missing": float(rng.choice([0.0, 0.01, 0.3] if extra else [0.0, 0.0, 0.01])),
        "weights": "fractions" if n_classes and not extra else [None, "whole", "fractions"][rng.randint(3)],
        "quarters": bool(rng.randint(2)),
    }
    kind = "Classifier" if n_classes else "Regressor"
    case["estimator"] = f"{family}{kind}"
    case["params"] = {
        "n_estimators": 2,
        # With bootstrap weights say how often rows are drawn, and then are whole.
        "bootstrap": (extra or not n_classes) and bool(rng.randint(2)),
        "max_features": [1.0, 0.5, "sqrt"][rng.randint(3)],
        "max_leaf_nodes": [None, None, 100][rng.randint(3)],
        "min_samples_leaf": [1, 1, 4][rng.randint(3)],
        "random_state": int(rng.randint(2**31)),
    }
    x, y = make_cases.data(case)
    model = ESTIMATORS[case["estimator"]](**case["params"]).fit(x, y, make_cases.weights(case))
    return case | make_cases.fitted(model.estimators_, make_cases.answer(model, x), model)


ESTIMATORS = {
    "RandomForestClassifier": ensemble.RandomForestClassifier,
    "RandomForestRegressor": ensemble.RandomForestRegressor,
    "ExtraTreesClassifier": ensemble.ExtraTreesClassifier,
    "ExtraTreesRegressor": ensemble.ExtraTreesRegressor,
    "DecisionTreeClassifier": tree.DecisionTreeClassifier,
    "DecisionTreeRegressor": tree.DecisionTreeRegressor,
}


def evaluation(rng, name):
    """Hold-out, cross-validation and importances by permutation of a forest."""
    regressor = name.endswith("Regressor")
    n_classes = 0 if regressor else int(rng.randint(2, 4))
    case = {"seed": int(rng.randint(2**31)), "n_samples": int(rng.randint(40, 120)), "n_features": int(rng.randint(2, 6))}
    case |= {"n_classes": n_classes, "decimals": [None, 1][rng.randint(2)], "missing": 0.0}
    x, y = make_cases.data(case)
    seed = int(rng.randint(2**31))
    params = {"max_depth": [None, 3][rng.randint(2)], "random_state": int(rng.randint(2**31))}
    if not name.startswith("Decision"):
        params["n_estimators"] = 5
    model = ESTIMATORS[name](**params)
    n_splits, shuffle = int(rng.randint(2, 6)), bool(rng.randint(2))
    folds = (KFold if regressor else StratifiedKFold)(n_splits, shuffle=shuffle, random_state=seed if shuffle else None)
    importances = inspection.permutation_importance(model.fit(x, y), x, y, n_repeats=4, random_state=seed)
    train, test = train_test_split(np.arange(len(y)), test_size=0.3, random_state=seed)
    return case | {
        "estimator": name,
        "params": params,
        "random_state": seed,
        "n_splits": n_splits,
        "shuffle": shuffle,
        "scores": cross_validate(model, x, y, cv=folds)["test_score"].tolist(),
        "importances": importances.importances.ravel().tolist(),
        "importances_mean": importances.importances_mean.tolist(),
        "importances_std": importances.importances_std.tolist(),
        "train": train.tolist(),
        "test": test.tolist(),
    }


def forests(rng, n):
    cases = []
    while len(cases) < n:
        case = make_cases.make(int(rng.randint(2**31 - 1)), weighted=True)
        if case is not None:
            cases.append(case)
    return cases


def tree_params(of_forest):
    forest_only = ("n_estimators", "bootstrap", "max_samples", "oob_score")
    params = {name: value for name, value in of_forest["params"].items() if name not in forest_only}
    if params.get("class_weight") == "balanced_subsample":
        params["class_weight"] = "balanced"
    return params


def single_tree(of_forest):
    """A decision tree on a forest's data and parameters, whose seed is the model's own."""
    case = copy.deepcopy(of_forest)
    regressor = case["estimator"].endswith("Regressor")
    case["estimator"] = "DecisionTreeRegressor" if regressor else "DecisionTreeClassifier"
    case["params"] = tree_params(of_forest)
    x, y = make_cases.data(case)
    model = ESTIMATORS[case["estimator"]](**make_cases.arguments(case)).fit(x, y, make_cases.weights(case))
    return make_cases.describe(case, [model], make_cases.answer(model, x), model, x, y)


def tree_of_random_cuts(of_forest, at):
    kind = "Regressor" if of_forest["estimator"].endswith("Regressor") else "Classifier"
    case = {name: of_forest[name] for name in ("seed", "n_samples", "n_features", "n_classes", "decimals", "missing", "weights", "quarters")}
    case |= {"estimator": f"ExtraTrees{kind}", "params": tree_params(of_forest)}
    x, y = make_cases.data(case)
    of_tree, more = [(getattr(tree, f"ExtraTree{kind}"), {}), (ESTIMATORS[f"DecisionTree{kind}"], {"splitter": "random"})][at % 2]
    model = of_tree(**make_cases.arguments(case), **more).fit(x, y, make_cases.weights(case))
    return case | {"tree": make_cases.hashes([model])}


def warm_start(of_forest):
    """The trees of a forest that is fitted with one tree, and then with the others."""
    x, y = make_cases.data(of_forest)
    weights = make_cases.weights(of_forest)
    arguments = make_cases.arguments(of_forest)
    model = ESTIMATORS[of_forest["estimator"]](**arguments | {"n_estimators": 1}, warm_start=True).fit(x, y, weights)
    model.set_params(n_estimators=arguments["n_estimators"]).fit(x, y, weights)
    return make_cases.hashes(model.estimators_)


def one_row(name):
    """Regressors learn from a single row; what they are is one leaf."""
    case = {"seed": 1, "n_samples": 1, "n_features": 3, "n_classes": 0, "decimals": None, "missing": 0.0}
    x, y = make_cases.data(case)
    params = {"random_state": 7} | ({} if name.startswith("Decision") else {"n_estimators": 2})
    model = ESTIMATORS[name](**params).fit(x, y)
    trees = getattr(model, "estimators_", [model])
    return case | {"estimator": name, "params": params} | make_cases.fitted(trees, model.predict(x), model)


if __name__ == "__main__":
    seed, n_forests = int(sys.argv[1]), int(sys.argv[2])
    rng = np.random.RandomState(seed)
    grown = forests(rng, n_forests)
    classification = [classification_data(rng, informative) for informative in [*range(2, 16)] * 4 + [*range(16, 40, 4)]]
    print(
        json.dumps(
            {
                "regression_data": [regression_data(rng) for _ in range(60)],
                "classification_data": [case for case in classification if "x" in case],
                "close_classification_data": [case for case in classification if "x" not in case],
                "areas": [areas(rng) for _ in range(40)],
                "evaluations": [evaluation(rng, name) for name in ESTIMATORS for _ in range(6)],
                "large": [
                    *(large(rng, int(rng.randint(8, 41)), ["sqrt", "log2", 0.3][at % 3]) for at in range(6)),
                    # More than 16 and more than 32 features for each that a node looks at.
                    large(rng, 300, "sqrt"),
                    large(rng, 300, 5),
                ],
                "in_order": [
                    *(in_order(rng, "RandomForest", n_classes, at) for n_classes in (0, 0, 3) for at in (None, 0, 1, 2, 3, 4)),
                    *(in_order(rng, "ExtraTrees", n_classes, at) for n_classes in (0, 2, 3) for at in (None, 0, 0, 1)),
                ],
                "one_row": [one_row(name) for name in ESTIMATORS if name.endswith("Regressor")],
                "warm_starts": [warm_start(case) for case in grown[:20]],
                "trees": [single_tree(case) for case in grown[: n_forests // 4]],
                "trees_of_random_cuts": [tree_of_random_cuts(case, at) for at, case in enumerate(grown[: n_forests // 4])],
                "forests": grown,
            }
        )
    )
