"""The reference stack: Ray Serve around the FastAPI application, with its defaults."""

import fastapi_app
from ray import serve


@serve.deployment
@serve.ingress(fastapi_app.app)
class Predict:
    pass


app = Predict.bind()
