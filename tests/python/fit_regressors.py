"""What scikit-learn makes of a data set of numbers. Writes it as CSV and prints one JSON object.

Usage: fit_regressors.py CSV_FILE
"""

import json
import sys

import numpy as np
from sklearn.datasets import make_regression
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeRegressor

SEED = 3
TEST_SIZE = 0.25
SETTINGS = {
    "RandomForestRegressor": (RandomForestRegressor, {"n_estimators": 12, "oob_score": True, "max_features": 0.5}),
    "ExtraTreesRegressor": (ExtraTreesRegressor, {"n_estimators": 9}),
    "DecisionTreeRegressor": (DecisionTreeRegressor, {"max_depth": 6}),
}

X, y = make_regression(n_samples=600, n_features=5, n_informative=4, noise=8.0, random_state=11)
X = X.astype(np.float32)
with open(sys.argv[1], "w", encoding="utf-8") as file:
    print(*[f"x{column}" for column in range(X.shape[1])], "price", sep=",", file=file)
    for row, target in zip(X, y):
        print(*[f"{value:.9g}" for value in row], repr(float(target)), sep=",", file=file)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=TEST_SIZE, random_state=SEED)
said = {}
for name, (estimator, params) in SETTINGS.items():
    whole = estimator(random_state=SEED, **params).fit(X, y)
    guess = estimator(random_state=SEED, **{**params, "oob_score": False} if "oob_score" in params else params)
    guess = guess.fit(X_train, y_train).predict(X_test)
    said[name] = {
        "predictions": whole.predict(X[:40]).tolist(),
        "metrics": {
            "holdout_r2_score": r2_score(y_test, guess),
            "holdout_mean_squared_error": mean_squared_error(y_test, guess),
            "holdout_root_mean_squared_error": float(np.sqrt(mean_squared_error(y_test, guess))),
            "holdout_mean_absolute_error": mean_absolute_error(y_test, guess),
            "r2_score": r2_score(y, whole.predict(X)),
            **({"oob_r2_score": whole.oob_score_} if "oob_score" in params else {}),
        },
    }
print(json.dumps({"rows": X[:40].astype(float).tolist(), "said": said}))
