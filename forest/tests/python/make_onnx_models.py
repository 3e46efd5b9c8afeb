"""Writes ONNX models of many kinds, rows for them, and what ONNX Runtime answers.

Usage: make_onnx_models.py FOLDER [seeds]
Per model: NAME.onnx, NAME.rows and NAME.json as answer_onnx.py describes them. With `seeds` the models are as small as their
kind allows and stand alone: what fuzzing begins with.
"""

import pathlib
import sys
import warnings

import answer_onnx
import lightgbm
import numpy as np
import onnx
import onnxmltools
import skl2onnx
import xgboost
from onnx import TensorProto, helper, numpy_helper
from onnxmltools.convert.common.data_types import FloatTensorType
from skl2onnx.common.data_types import DoubleTensorType as SkDouble
from skl2onnx.common.data_types import FloatTensorType as SkFloat
from sklearn import datasets, ensemble, tree

N_FEATURES = 6
folder = pathlib.Path(sys.argv[1])
seeds = sys.argv[2:] == ["seeds"]
warnings.simplefilter("ignore")


def data(n_classes, seed=0):
    x, y = datasets.make_classification(
        400, N_FEATURES, n_informative=4, n_redundant=0, n_classes=n_classes, flip_y=0.1, random_state=seed
    )
    return x.astype(np.float32), y


def thresholds(model):
    """Every float32 that a test compares a feature with: [(feature, value)]."""
    found = set()
    for node in model.graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if "nodes_featureids" not in attributes:
            continue
        if "nodes_values" in attributes:
            values = attributes["nodes_values"].floats
        else:
            name = "nodes_splits" if node.op_type == "TreeEnsemble" else "nodes_values_as_tensor"
            values = numpy_helper.to_array(attributes[name].t)
        found.update(zip(attributes["nodes_featureids"].ints, np.asarray(values, dtype=np.float32).tolist()))
    return sorted(found)


def rows_for(model, x, missing, categories):
    """The rows of `x`, and rows that lie exactly on thresholds and beside them; categories are whole numbers."""
    rng = np.random.RandomState(7)
    hard = []
    for feature, value in thresholds(model):
        for exact in (value, np.nextafter(np.float32(value), np.float32(-np.inf)), np.nextafter(np.float32(value), np.float32(np.inf))):
            row = x[rng.randint(len(x))].copy()
            row[feature] = exact
            hard.append(row)
    rng.shuffle(hard)
    rows = np.concatenate([x, np.array(hard[:600], dtype=np.float32).reshape(-1, x.shape[1])])
    # ONNX Runtime truncates what it looks up in a set, so that 3.5 is a member of {3}.
    rows[:, categories] = np.rint(rows[:, categories])
    if missing:
        rows[rng.random_sample(rows.shape) < 0.15] = np.nan
    return np.ascontiguousarray(rows, dtype=np.float32)


def size(n_trees, depth):
    """How many trees, and how deep."""
    return (2, 2) if seeds else (n_trees, depth)


def params(n_trees, depth, **more):
    n_estimators, max_depth = size(n_trees, depth)
    return {"n_estimators": n_estimators, "max_depth": max_depth, "random_state": 0, **more}


def write(name, model, x, missing=False, categories=()):
    (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    if seeds:
        return
    rows = rows_for(model, x, missing, list(categories))
    (folder / f"{name}.rows").write_bytes(rows.tobytes())
    answer_onnx.answer(folder, name, rows.shape[1])


def from_sklearn():
    (x2, y2), (x3, y3) = data(2), data(3)
    words = np.array(["no", "perhaps", "yes"])[y3]
    value = (2 * x2[:, 0] + x2[:, 1] ** 2).astype(np.float64)
    forest, boosted = params(12, 6), params(15, 3)
    _, depth = size(1, 5)

    def one(name, estimator, x, y, **options):
        write(f"sklearn-{name}", skl2onnx.to_onnx(estimator.fit(x, y), x[:1], **options), x)

    one("forest-2", ensemble.RandomForestClassifier(**forest), x2, y2)
    one("forest-2-labels", ensemble.RandomForestClassifier(**forest), x2, np.where(y2 == 0, -4, 9))
    one("forest-2-tensor", ensemble.RandomForestClassifier(**forest), x2, y2, options={"zipmap": False})
    one("forest-3-columns", ensemble.RandomForestClassifier(**forest), x3, words, options={"zipmap": "columns"})
    one("forest-3", ensemble.RandomForestClassifier(**forest), x3, words)
    one("extra-3", ensemble.ExtraTreesClassifier(**forest), x3, y3)
    one("tree-2", tree.DecisionTreeClassifier(max_depth=depth, random_state=0), x2, y2)
    one("tree-3", tree.DecisionTreeClassifier(max_depth=depth, random_state=0), x3, y3)
    one("boosting-2", ensemble.GradientBoostingClassifier(**boosted), x2, y2)
    one("boosting-3", ensemble.GradientBoostingClassifier(**boosted), x3, y3)
    one("regressor-forest", ensemble.RandomForestRegressor(**forest), x2, value)
    one("regressor-extra", ensemble.ExtraTreesRegressor(**forest), x2, value)
    one("regressor-tree", tree.DecisionTreeRegressor(max_depth=depth, random_state=0), x2, value)
    one("regressor-boosting", ensemble.GradientBoostingRegressor(**boosted), x2, value)
    fitted = ensemble.RandomForestClassifier(**forest).fit(x3, y3)
    columns = [(f"column {at}", SkFloat([None, 1])) for at in range(N_FEATURES)]
    write("sklearn-inputs", onnx_of_columns(fitted, columns), x3)
    write("sklearn-double", skl2onnx.convert_sklearn(fitted, initial_types=[("X", SkDouble([None, N_FEATURES]))]), x3)


def onnx_of_columns(fitted, columns):
    """A graph with an input per column, joined before the trees, as pipelines on data frames have them."""
    model = skl2onnx.convert_sklearn(fitted, initial_types=[("joined", SkFloat([None, N_FEATURES]))])
    del model.graph.input[:]
    for name, _ in columns:
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]))
    join = helper.make_node("Concat", [name for name, _ in columns], ["joined"], axis=1)
    model.graph.node.insert(0, join)
    return model


def from_xgboost():
    (x2, y2), (x3, y3) = data(2), data(3)
    value = (2 * x2[:, 0] + x2[:, 1] ** 2).astype(np.float64)
    holes = x2.copy()
    holes[np.random.RandomState(0).random_sample(x2.shape) < 0.2] = np.nan
    boosted = params(20, 4, n_jobs=1)

    def one(name, estimator, x, y, missing=False):
        estimator.fit(x, y)
        types = [("input", FloatTensorType([None, x.shape[1]]))]
        write(f"xgboost-{name}", onnxmltools.convert_xgboost(estimator, initial_types=types), np.nan_to_num(x), missing)

    one("binary", xgboost.XGBClassifier(**boosted), x2, y2)
    one("multiclass", xgboost.XGBClassifier(**boosted), x3, y3)
    one("regression", xgboost.XGBRegressor(**boosted), x2, value)
    one("poisson", xgboost.XGBRegressor(objective="count:poisson", **boosted), x2, np.abs(value))
    one("tweedie", xgboost.XGBRegressor(objective="reg:tweedie", **boosted), x2, np.abs(value))
    one("forest", xgboost.XGBRFClassifier(**boosted), x2, y2)
    one("forest-regression", xgboost.XGBRFRegressor(**boosted), x2, value)
    one("missing", xgboost.XGBClassifier(**boosted), holes, y2, missing=True)
    one("missing-multiclass", xgboost.XGBClassifier(**boosted), np.where(np.isnan(holes), np.nan, x3), y3, missing=True)


def from_lightgbm():
    (x2, y2), (x3, y3) = data(2), data(3)
    value = (2 * x2[:, 0] + x2[:, 1] ** 2).astype(np.float64)
    holes = x2.copy()
    holes[np.random.RandomState(0).random_sample(x2.shape) < 0.2] = np.nan
    boosted = params(20, 4, n_jobs=1, verbose=-1)

    def one(name, estimator, x, y, missing=False, categories=()):
        estimator.fit(x, y, **({"categorical_feature": list(categories)} if categories else {}))
        types = [("input", FloatTensorType([None, x.shape[1]]))]
        model = onnxmltools.convert_lightgbm(estimator, initial_types=types)
        write(f"lightgbm-{name}", model, np.nan_to_num(x), missing, categories)

    one("binary", lightgbm.LGBMClassifier(**boosted), x2, y2)
    one("multiclass", lightgbm.LGBMClassifier(**boosted), x3, y3)
    one("regression", lightgbm.LGBMRegressor(**boosted), x2, value)
    one("poisson", lightgbm.LGBMRegressor(objective="poisson", **boosted), x2, np.abs(value))
    bagging = {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}
    one("forest", lightgbm.LGBMClassifier(**bagging, **boosted), x2, y2)
    one("dart", lightgbm.LGBMClassifier(boosting_type="dart", **boosted), x2, y2)
    one("missing", lightgbm.LGBMClassifier(**boosted), holes, y2, missing=True)
    groups = x2.copy()
    groups[:, 0] = np.random.RandomState(1).randint(0, 12, len(x2))
    groups[:, 1] = np.random.RandomState(2).randint(0, 5, len(x2))
    odd = (np.isin(groups[:, 0], [1, 3, 5, 8]) ^ np.isin(groups[:, 1], [0, 3]) ^ (groups[:, 2] > 0)).astype(int)
    one("categories", lightgbm.LGBMClassifier(**boosted), groups, odd, categories=[0, 1])


MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]


def random_trees(rng, n_trees, depth, modes, n_targets):
    """Full trees with thresholds among few values, so that rows lie on them: arrays of `TreeEnsembleRegressor`."""
    arrays = {key: [] for key in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")}
    arrays["missing_value_tracks_true"] = []
    leaves = []
    for one in range(n_trees):
        for node in range(2 ** (depth + 1) - 1):
            leaf = node >= 2**depth - 1
            arrays["treeids"].append(one)
            arrays["nodeids"].append(node)
            arrays["featureids"].append(0 if leaf else int(rng.randint(3)))
            arrays["values"].append(0.0 if leaf else float(rng.randint(-2, 3)))
            arrays["modes"].append("LEAF" if leaf else modes[rng.randint(len(modes))])
            arrays["truenodeids"].append(0 if leaf else 2 * node + 1)
            arrays["falsenodeids"].append(0 if leaf else 2 * node + 2)
            arrays["missing_value_tracks_true"].append(0 if leaf else int(rng.randint(2)))
            if leaf:
                leaves += [(one, node, target, float(rng.randint(-8, 9)) / 4) for target in range(n_targets)]
    return arrays, leaves


def as_model(nodes, outputs, opset_ml, elem_type=TensorProto.FLOAT, n_features=3):
    graph = helper.make_graph(
        nodes,
        "hand",
        [helper.make_tensor_value_info("X", elem_type, [None, n_features])],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs],
    )
    opsets = [helper.make_opsetid("ai.onnx.ml", opset_ml), helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def by_hand():
    """Forms that the exporters above do not write."""
    rng = np.random.RandomState(3)
    rows = rng.randint(-3, 4, (300, 3)).astype(np.float32)
    rows += rng.choice([0.0, 0.0, 0.5], rows.shape).astype(np.float32)
    for mode in MODES:
        regressor(rng, rows, f"hand-{mode.removeprefix('BRANCH_').lower()}", [mode])
    regressor(rng, rows, "hand-mixed", MODES)
    regressor(rng, rows, "hand-mixed-average", MODES, aggregate_function="AVERAGE", base_values=[0.75])
    regressor(rng, rows, "hand-probit", MODES[:2], post_transform="PROBIT", scale=0.02, base_values=[0.5])
    regressor(rng, rows, "hand-as-tensor", MODES, as_tensor=True)
    for transform in ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"):
        for n_classes, targets in ((2, 1), (2, 2), (3, 3)):
            base_values = None if targets == 2 else [0.3, -0.55, 0.12][:targets]
            classifier(rng, rows, f"hand-{transform.lower()}-{n_classes}-{targets}", transform, n_classes, targets, base_values)
    for elem_type, name in ((TensorProto.FLOAT, "float"), (TensorProto.DOUBLE, "double")):
        version5(rng, rows, f"hand-v5-{name}", elem_type, members=False)
        version5(rng, rows, f"hand-v5-{name}-members", elem_type, members=True)


def regressor(rng, rows, name, modes, as_tensor=False, scale=1.0, **attributes):
    arrays, leaves = random_trees(rng, *size(5, 4), modes, 1)
    arrays = {f"nodes_{key}": values for key, values in arrays.items()}
    weights = [weight * scale for _, _, _, weight in leaves]
    kind = TensorProto.FLOAT
    if as_tensor:
        kind = TensorProto.DOUBLE
        arrays["nodes_values_as_tensor"] = numpy_helper.from_array(np.array(arrays.pop("nodes_values")) + 0.1, "v")
        attributes["target_weights_as_tensor"] = numpy_helper.from_array(np.array(weights) + 0.1, "w")
    else:
        attributes["target_weights"] = weights
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["X"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        target_treeids=[leaf[0] for leaf in leaves],
        target_nodeids=[leaf[1] for leaf in leaves],
        target_ids=[leaf[2] for leaf in leaves],
        **arrays,
        **attributes,
    )
    write(name, as_model([node], [("y", TensorProto.FLOAT)], 3, kind), rows, missing=True)


def classifier(rng, rows, name, transform, n_classes, targets, base_values):
    arrays, leaves = random_trees(rng, *size(5, 4), MODES[:4], targets)
    if targets == 2:
        # A margin for each class, as CatBoost writes them; ONNX Runtime reads the label off the second.
        firsts = {leaf[:2]: leaf[3] for leaf in leaves if leaf[2] == 0}
        leaves = [(*leaf[:3], leaf[3] if leaf[2] == 0 else -firsts[leaf[:2]]) for leaf in leaves]
    attributes = {f"nodes_{key}": values for key, values in arrays.items()}
    if base_values is not None:
        attributes["base_values"] = base_values
    node = helper.make_node(
        "TreeEnsembleClassifier",
        ["X"],
        ["label", "scores"],
        domain="ai.onnx.ml",
        classlabels_int64s=list(range(n_classes)),
        class_treeids=[leaf[0] for leaf in leaves],
        class_nodeids=[leaf[1] for leaf in leaves],
        class_ids=[leaf[2] for leaf in leaves],
        class_weights=[leaf[3] for leaf in leaves],
        post_transform=transform,
        **attributes,
    )
    outputs = [("label", TensorProto.INT64), ("scores", TensorProto.FLOAT)]
    write(name, as_model([node], outputs, 1), rows, missing=True)


def version5(rng, rows, name, elem_type, members):
    """Trees of depth 3; leaves in pairs."""
    n_trees, _ = size(5, 3)
    kind = np.float32 if elem_type == TensorProto.FLOAT else np.float64
    ids = {key: [] for key in ("feature", "true", "trueleafs", "false", "falseleafs", "missing")}
    modes, splits, sets, roots = [], [], [], []
    for one in range(n_trees):
        roots.append(7 * one)
        for node in range(7):
            above_leaves = node >= 3
            child = (lambda side: 8 * one + 2 * (node - 3) + side) if above_leaves else (lambda side: 7 * one + 2 * node + 1 + side)
            mode = 6 if members and rng.randint(2) else int(rng.randint(6))
            modes.append(mode)
            splits.append(float(rng.randint(-2, 3)))
            if mode == 6:
                sets += rng.choice(np.arange(-3, 4), rng.randint(1, 5), replace=False).astype(float).tolist() + [np.nan]
            for key, number in (("feature", rng.randint(3)), ("true", child(0)), ("false", child(1)), ("missing", rng.randint(2))):
                ids[key].append(int(number))
            ids["trueleafs"].append(int(above_leaves))
            ids["falseleafs"].append(int(above_leaves))
    attributes = {}
    if members:
        attributes["membership_values"] = numpy_helper.from_array(np.array(sets, dtype=kind), "sets")
    node = helper.make_node(
        "TreeEnsemble",
        ["X"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function=1,
        tree_roots=roots,
        nodes_featureids=ids["feature"],
        nodes_modes=numpy_helper.from_array(np.array(modes, dtype=np.uint8), "modes"),
        nodes_splits=numpy_helper.from_array(np.array(splits, dtype=kind), "splits"),
        nodes_truenodeids=ids["true"],
        nodes_trueleafs=ids["trueleafs"],
        nodes_falsenodeids=ids["false"],
        nodes_falseleafs=ids["falseleafs"],
        nodes_missing_value_tracks_true=ids["missing"],
        leaf_targetids=[0] * 8 * n_trees,
        leaf_weights=numpy_helper.from_array((rng.randint(-8, 9, 8 * n_trees) / 4).astype(kind), "weights"),
        **attributes,
    )
    categories = range(3) if members else ()
    write(name, as_model([node], [("y", elem_type)], 5, elem_type), rows, missing=True, categories=categories)


if __name__ == "__main__":
    from_sklearn()
    from_xgboost()
    from_lightgbm()
    by_hand()
