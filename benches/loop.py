#!/usr/bin/env python3
"""Measures the whole loop as a user gets it, with the release binaries.

    cargo build --release --workspace --bins
    python3 benches/loop.py                       embedded stores
    python3 benches/loop.py --redis --mlflow      a real Redis and a real MLflow beside it (from `cargo xtask setup`)

Prints, as medians over --runs: seconds of the reference job by step, milliseconds from exec of `predict` to its first
answer (model load included), resident memory of each idle function, and sizes of the binaries. Only the standard
library is needed.
"""

import argparse
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARIES = ROOT / "target" / "release"
FUNCTIONS = ["aggregate", "train-shard", "register", "load-model", "predict"]
ROW = {"features": [list(range(1, 21))]}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port: int, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                sys.exit(f"nothing listens on port {port} after {seconds} s")
            time.sleep(0.002)


def clean_environment() -> dict:
    """Without cargo's variable: the demo would build the functions again."""
    return {name: value for name, value in os.environ.items() if name not in ("CARGO", "REDIS_URL", "MLFLOW_TRACKING_URI")}


def demo(home: pathlib.Path, environment: dict) -> dict:
    command = [BINARIES / "regrove", "--json", "--home", home, "demo"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=home)
    if done.returncode != 0:
        sys.exit(f"the demo failed:\n{done.stderr}")
    return json.loads(done.stdout)


def loop(home: pathlib.Path, environment: dict, runs: int, name: str) -> None:
    reports = [demo(home, environment) for _ in range(runs + 1)][1:]
    print(f"\nreference job, {name}, medians of {runs} runs after a warm-up, seconds")
    steps = ["train", "aggregate", "register", "queued_to_registered", "load", "predict"]
    for step in steps:
        values = [report["jobs"][0]["seconds"][step] for report in reports]
        print(f"  {step:22} {statistics.median(values):8.4f}   ({min(values):.4f} to {max(values):.4f})")
    whole = [sum(report["jobs"][0]["seconds"][step] for step in steps[3:]) for report in reports]
    print(f"  {'event to prediction':22} {statistics.median(whole):8.4f}   ({min(whole):.4f} to {max(whole):.4f})")
    print(f"cold starts through the activator, {name}, milliseconds")
    for function in FUNCTIONS:
        values = [ms for report in reports for ms in report["cold_starts_ms"].get(function, [])]
        if values:
            print(f"  {function:22} {statistics.median(values):8.2f}   ({min(values):.2f} to {max(values):.2f})")


def start(function: str, home: pathlib.Path, environment: dict) -> tuple:
    port = free_port()
    own = dict(environment, PORT=str(port), REGROVE_HOME=str(home), K_SINK="http://127.0.0.1:9/", RUST_LOG="error")
    begun = time.perf_counter()
    return subprocess.Popen([BINARIES / function], env=own, stderr=subprocess.DEVNULL), port, begun


def first_answer(home: pathlib.Path, environment: dict, runs: int) -> None:
    times = []
    for _ in range(runs):
        process, port, begun = start("predict", home, environment)
        wait_for(port)
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", "/predict", json.dumps(ROW), {"content-type": "application/json"})
        answer = connection.getresponse()
        times.append((time.perf_counter() - begun) * 1000)
        if answer.status != 200:
            sys.exit(f"predict answered {answer.status}: {answer.read()!r}")
        process.send_signal(signal.SIGTERM)
        process.wait()
    print(f"\npredict, exec to first answer with its model, medians of {runs}: "
          f"{statistics.median(times):.2f} ms ({min(times):.2f} to {max(times):.2f})")


def memory(home: pathlib.Path, environment: dict) -> None:
    print("\nidle, after one answer")
    for function in FUNCTIONS:
        process, port, _ = start(function, home, environment)
        wait_for(port)
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        size = (BINARIES / function).stat().st_size
        print(f"  {function:22} {resident / 1024:6.1f} MiB resident, binary {size / 1e6:5.1f} MB")
        process.send_signal(signal.SIGTERM)
        process.wait()
    print(f"  {'regrove':22} {'':19} binary {(BINARIES / 'regrove').stat().st_size / 1e6:5.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--redis", action="store_true", help="use a real Redis, started for this run")
    parser.add_argument("--mlflow", action="store_true", help="use a real MLflow, started for this run")
    parser.add_argument("--venv", type=pathlib.Path, default=ROOT / "target" / "venv", help="where MLflow is installed")
    arguments = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="regrove-loop-"))
    environment, servers, names = clean_environment(), [], []
    try:
        if arguments.redis:
            port = free_port()
            servers.append(subprocess.Popen(
                ["redis-server", "--port", str(port), "--dir", folder, "--appendonly", "yes", "--save", ""],
                stdout=subprocess.DEVNULL))
            wait_for(port)
            environment["REDIS_URL"] = f"redis://127.0.0.1:{port}"
            names.append("Redis")
        if arguments.mlflow:
            port = free_port()
            servers.append(subprocess.Popen(
                [arguments.venv / "bin" / "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port),
                 "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", folder / "artifacts"],
                env=dict(environment, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"), start_new_session=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            wait_for(port)
            environment["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{port}"
            names.append("MLflow")
        home = folder / "home"
        home.mkdir()
        loop(home, environment, arguments.runs, " and ".join(names) or "embedded stores")
        first_answer(home, environment, arguments.runs * 3)
        memory(home, environment)
    finally:
        for server in servers:
            try:
                os.killpg(server.pid, signal.SIGTERM) if os.getpgid(server.pid) == server.pid else server.terminate()
            except ProcessLookupError:
                pass
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
