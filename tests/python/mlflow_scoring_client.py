"""MLflow's own client of scoring servers, asking predict at the gateway. Prints one JSON object.

Usage: mlflow_scoring_client.py HOST PORT COLUMNS_JSON ROWS_JSON
"""

import json
import socket
import sys

import numpy as np
import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

host, port, columns, rows = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]), json.loads(sys.argv[4])
look_up = socket.getaddrinfo


def look_up_as_browsers_do(name, *arguments, **options):
    """Names below localhost are this machine (RFC 6761). curl and browsers know it, the C library does not."""
    return look_up("127.0.0.1" if str(name).endswith(".localhost") else name, *arguments, **options)


socket.getaddrinfo = look_up_as_browsers_do
client = ScoringServerClient(host, port)
client.wait_server_ready(timeout=60)
frame = pd.DataFrame(rows, columns=columns)
shuffled = frame[columns[::-1]]
try:
    client.invoke(frame.drop(columns=columns[0]))
    refused = "nothing was refused"
except Exception as error:  # the client raises no narrower one
    refused = str(error)


def table(answer):
    predictions = answer.get_predictions()
    return {name: predictions[name].tolist() for name in predictions.columns}


print(
    json.dumps(
        {
            "version": client.get_version(),
            "frame": table(client.invoke(frame)),
            "shuffled": table(client.invoke(shuffled)),
            "array": table(client.invoke(np.array(rows, dtype=float))),
            "refused": refused,
        }
    )
)
