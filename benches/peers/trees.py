"""The trees that `bench-forest` wrote to a folder, as scikit-learn's forest and as LightGBM's text file."""

import json
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

FLOAT64, FLOAT32, INT32, UINT32, UINT8 = "<f8", "<f4", "<i4", "<u4", "u1"
ARRAYS = {
    "left_child": INT32, "right_child": INT32, "feature": INT32, "threshold": FLOAT64, "impurity": FLOAT64,
    "n_node_samples": UINT32, "weighted_n_node_samples": FLOAT64, "missing_go_to_left": UINT8,
}


class Trees:
    """Node arrays in scikit-learn's layout, a dictionary per tree, and the values `(n_nodes, n_classes)`."""

    def __init__(self, folder):
        folder = Path(folder)
        shape = json.loads((folder / "shape.json").read_text())
        self.n_features, self.n_classes = shape["n_features"], shape["n_classes"]
        cuts = np.cumsum(shape["n_nodes"])[:-1]
        arrays = {name: np.split(np.fromfile(folder / name, kind), cuts) for name, kind in ARRAYS.items()}
        self.nodes = [{name: arrays[name][tree] for name in ARRAYS} for tree in range(len(shape["n_nodes"]))]
        values = np.fromfile(folder / "value", FLOAT64).reshape(-1, self.n_classes)
        self.values = np.split(values, cuts)
        self.rows = np.fromfile(folder / "rows", FLOAT32).reshape(-1, self.n_features)
        self.proba = np.fromfile(folder / "proba", FLOAT64).reshape(-1, self.n_classes)
        self.onnx = (folder / "model.onnx").read_bytes()

    def scikit_learn(self):
        """A fitted `RandomForestClassifier` whose trees are these."""
        X, y = np.zeros((self.n_classes, self.n_features), np.float32), np.arange(self.n_classes)
        forest = RandomForestClassifier(n_estimators=1, bootstrap=False, n_jobs=1).fit(X, y)
        forest.estimators_ = [self._tree(X, y, *tree) for tree in zip(self.nodes, self.values)]
        forest.n_estimators = len(self.nodes)
        return forest

    def _tree(self, X, y, nodes, values):
        tree = DecisionTreeClassifier(max_depth=1).fit(X, y)
        records = np.zeros(len(values), tree.tree_.__getstate__()["nodes"].dtype)
        for name in ARRAYS:
            records[name] = nodes[name]
        kind, arguments, _ = tree.tree_.__reduce__()
        tree.tree_ = kind(*arguments)
        tree.tree_.__setstate__({
            "max_depth": depth(nodes), "node_count": len(values), "nodes": records, "values": values[:, None, :].copy(),
        })
        return tree

    def lightgbm(self):
        """A model of two classes in LightGBM's text form: the mean of the second class's values."""
        trees = [lightgbm_tree(number, *tree) for number, tree in enumerate(zip(self.nodes, self.values))]
        head = [
            "tree", "version=v4", "num_class=1", "num_tree_per_iteration=1", "label_index=0",
            f"max_feature_idx={self.n_features - 1}", "objective=regression", "average_output",
            "feature_names=" + " ".join(f"f{feature}" for feature in range(self.n_features)),
            "feature_infos=" + " ".join(["[-1e38:1e38]"] * self.n_features),
            "tree_sizes=" + " ".join(str(len(tree)) for tree in trees), "", "",
        ]
        tail = ["end of trees", "", "feature_importances:", "", "parameters:", "end of parameters", "", "pandas_categorical:null", ""]
        return "\n".join(head) + "".join(trees) + "\n".join(tail)


def depth(nodes):
    left, right = nodes["left_child"], nodes["right_child"]
    depths = np.zeros(len(left), int)
    for node in np.flatnonzero(left >= 0):
        depths[[left[node], right[node]]] = depths[node] + 1
    return int(depths.max())


def lightgbm_tree(number, nodes, values):
    left = nodes["left_child"]
    splits, leaves = np.flatnonzero(left >= 0), np.flatnonzero(left < 0)
    names = np.empty(len(left), int)
    names[splits], names[leaves] = np.arange(len(splits)), -1 - np.arange(len(leaves))

    def line(name, numbers):
        return f"{name}=" + " ".join(repr(number) for number in np.asarray(numbers).tolist())

    zeros, ones = [0] * len(splits), [1] * len(splits)
    return "\n".join([
        f"Tree={number}", f"num_leaves={len(leaves)}", "num_cat=0", line("split_feature", nodes["feature"][splits]),
        line("split_gain", zeros), line("threshold", nodes["threshold"][splits]), line("decision_type", zeros),
        line("left_child", names[left[splits]]), line("right_child", names[nodes["right_child"][splits]]),
        line("leaf_value", values[leaves, 1]), line("leaf_weight", [1] * len(leaves)),
        line("leaf_count", [1] * len(leaves)), line("internal_value", zeros), line("internal_weight", ones),
        line("internal_count", ones), "is_linear=0", "shrinkage=1", "", "",
    ]) + "\n"
