"""The clients of Triton and of KServe, asking predict at the gateway as they are. Prints one JSON object.

Usage: open_inference_clients.py GATEWAY HOST MODEL COLUMNS_JSON ROWS_JSON
"""

import asyncio
import json
import sys

import httpx
import numpy as np
import tritonclient.http as triton
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from tritonclient.utils import InferenceServerException

gateway, host, model, columns, rows = *sys.argv[1:4], json.loads(sys.argv[4]), json.loads(sys.argv[5])
headers = {"Host": host}
matrix = np.array(rows, dtype=np.float32)
OUTPUTS = ["predict", "predict_proba"]
BODY_BYTES_MAX = 16 << 20


def by_column(make):
    """One tensor per column, in another order than the model's."""
    return [make(name, matrix[:, [at]]) for at, name in reversed(list(enumerate(columns)))]


def ask_triton():
    client = triton.InferenceServerClient(gateway)
    say = {"headers": headers}

    def tensor(name, values, binary=True):
        given = triton.InferInput(name, list(values.shape), "FP32")
        given.set_data_from_numpy(values, binary_data=binary)
        return given

    def said(inputs, binary_outputs, **options):
        wanted = [triton.InferRequestedOutput(name, binary_data=binary_outputs) for name in OUTPUTS]
        # The client writes into the headers that it is given.
        answer = client.infer(model, inputs, outputs=wanted, headers=dict(headers), **options)
        return {name: answer.as_numpy(name).tolist() for name in OUTPUTS} | {"id": answer.get_response().get("id")}

    def refusal(ask):
        try:
            ask()
        except InferenceServerException as error:
            return {"status": error.status(), "message": error.message()}
        return None

    def refused(inputs, name=model, **options):
        return refusal(lambda: client.infer(name, inputs, headers=dict(headers), **options))

    metadata = client.get_model_metadata(model, **say)
    return {
        "live": client.is_server_live(**say),
        "ready": client.is_server_ready(**say),
        "model_ready": client.is_model_ready(model, **say),
        "version_ready": client.is_model_ready(model, model_version="1", **say),
        "version_not_ready": client.is_model_ready(model, model_version="99", **say),
        "server": client.get_server_metadata(**say),
        "metadata": metadata,
        "index": client.get_model_repository_index(**say),
        "binary": said([tensor("input-0", matrix)], True, request_id="a"),
        "json": said([tensor("input-0", matrix, binary=False)], False, request_id="a"),
        "compressed": said(
            [tensor("input-0", matrix)], True, request_id="a", request_compression_algorithm="gzip",
            response_compression_algorithm="gzip",
        ),
        "by_column": said(by_column(tensor), True, request_id="a", model_version="1"),
        "wrong_width": refused([tensor("input-0", matrix[:, 1:])]),
        "infinite": refused([tensor("input-0", np.full_like(matrix, np.inf))]),
        "unknown_model": refused([tensor("input-0", matrix)], name="Nobody"),
        "unknown_version": refused([tensor("input-0", matrix)], model_version="99"),
        "too_large": refused([tensor("input-0", np.zeros((BODY_BYTES_MAX // 4 // len(columns) + 1, len(columns)), np.float32))]),
        "unknown_path": refusal(lambda: client.get_inference_statistics(model, **say)),
    }


async def ask_kserve():
    base = f"http://{gateway}"

    def tensor(name, values, binary=True):
        given = InferInput(name, list(values.shape), "FP32")
        given.set_data_from_numpy(values, binary_data=binary)
        return given

    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:

        async def said(inputs):
            request = InferRequest(model_name=model, infer_inputs=inputs, request_id="a")
            answer = await client.infer(base, request, model_name=model, headers=dict(headers))
            return {one.name: one.as_numpy().tolist() for one in answer.outputs} | {"id": answer.id}

        async def refused(inputs):
            try:
                await said(inputs)
            except httpx.HTTPStatusError as error:
                return error.response.status_code
            return None

        return {
            "live": await client.is_server_live(base, headers=headers),
            "ready": await client.is_server_ready(base, headers=headers),
            "model_ready": await client.is_model_ready(base, model, headers=headers),
            "unknown_not_ready": await client.is_model_ready(base, "Nobody", headers=headers),
            "binary": await said([tensor("input-0", matrix)]),
            "json": await said([tensor("input-0", matrix, binary=False)]),
            "by_column": await said(by_column(tensor)),
            "wrong_width": await refused([tensor("input-0", matrix[:, 1:])]),
        }


print(json.dumps({"triton": ask_triton(), "kserve": asyncio.run(ask_kserve())}))
