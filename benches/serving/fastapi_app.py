"""What people write: FastAPI, pydantic, scikit-learn. The model's path is in MODEL."""

import datetime
import os

import joblib
import numpy as np
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

model = joblib.load(os.environ["MODEL"])
app = FastAPI()


class Features(BaseModel):
    features: list[list[float]]


@app.post("/predict")
def predict(request: Features) -> dict:
    try:
        rows = np.array(request.features)
        return {
            "predictions": model.predict(rows).tolist(),
            "probabilities": model.predict_proba(rows).tolist(),
            "model_version": "1",
            "timestamp": datetime.datetime.now(datetime.timezone.utc).isoformat(),
        }
    except ValueError as error:
        raise HTTPException(400, str(error)) from error
