#!/usr/bin/env python3
"""Measures `predict` beside the servers that people use now: the same model, the same rows, in one run.

    cargo build --release --workspace --bins
    python3 benches/serving/serving.py                          ours and FastAPI + uvicorn + scikit-learn
    python3 benches/serving/serving.py --peers fastapi,mlflow,ray

Installs the peers into --venv (target/serving-venv) when they are not there, and needs `wrk` (Debian: apt-get install wrk).
Prints per server: p50 and p99 at 1 connection, requests per second of the server's own CPU at 1, 16 and 64 connections,
CPU per request, resident memory of its processes, time from exec to the first prediction, and 1000-row bodies; for ours
100,000-row bodies too, as JSON and as a binary tensor. CPU time is the server's, from /proc, so that neither wrk nor
other programs count. Ratios are to ours.
"""

import argparse
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HERE = pathlib.Path(__file__).resolve().parent
TICKS = os.sysconf("SC_CLK_TCK")
ROW = [float(number) for number in range(1, 21)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tree(pid: int) -> list:
    """A process and everything that it started."""
    found = [pid]
    for parent in found:
        for task in pathlib.Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text().split()]
            except OSError:
                pass
    return found


def cpu(pids: list) -> float:
    total = 0
    for pid in pids:
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return total / TICKS


def resident(pids: list) -> float:
    """Proportional set size in MiB: shared pages count once."""
    total = 0
    for pid in pids:
        try:
            found = re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
            total += int(found.group(1))
        except (OSError, AttributeError):
            pass
    return total / 1024


class Server:
    """A server with the model, as its users start it."""

    def __init__(self, name, command, environment, path, body, cwd):
        self.name, self.path, self.body, self.port = name, path, body, free_port()
        command = [str(part).replace("PORT", str(self.port)) for part in command]
        environment = {key: value.replace("PORT", str(self.port)) for key, value in environment.items()}
        begun = time.perf_counter()
        self.process = subprocess.Popen(command, env={**os.environ, **environment}, cwd=cwd, start_new_session=True,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        answer = self.first()
        self.first_ms = (time.perf_counter() - begun) * 1000
        assert "predictions" in answer or "outputs" in answer, answer

    def first(self, seconds=180):
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.ask(json.dumps(self.body([ROW])).encode())
            except (OSError, http.client.HTTPException, ValueError):
                if time.monotonic() > deadline or self.process.poll() is not None:
                    sys.exit(f"{self.name} does not answer on port {self.port}")
                time.sleep(0.001)

    def ask(self, body, path=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request("POST", path or self.path, body, headers or {"content-type": "application/json"})
        reply = connection.getresponse()
        text = reply.read()
        if reply.status != 200:
            raise ValueError(f"{reply.status} {text[:200]!r}")
        return text.decode(errors="replace")

    def load(self, connections, seconds, body, folder):
        script = folder / "post.lua"
        (folder / "body.json").write_bytes(body)
        script.write_text(f'wrk.method = "POST"\nwrk.headers["content-type"] = "application/json"\n'
                          f'local file = io.open("{folder / "body.json"}", "rb")\nwrk.body = file:read("*a")\nfile:close()\n')
        pids = tree(self.process.pid)
        before = cpu(pids)
        done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "--latency", "-s", script,
                               f"http://127.0.0.1:{self.port}{self.path}"], check=True, capture_output=True, text=True)
        used = cpu(tree(self.process.pid)) - before
        units = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}
        latency = {int(share): float(value) * units[unit]
                   for share, value, unit in re.findall(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s|m)\b", done.stdout, re.M)}
        requests = int(re.search(r"(\d+) requests in", done.stdout).group(1))
        failed = sum(int(number) for number in re.findall(r"Non-2xx or 3xx responses: (\d+)|timeout (\d+)", done.stdout)
                     for number in number if number)
        return {"p50": latency.get(50), "p99": latency.get(99), "requests": requests, "failed": failed,
                "per_second": requests / seconds, "cpu": used}

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def features(rows):
    return {"features": rows}


def split(rows):
    return {"dataframe_split": {"columns": [f"x{column}" for column in range(20)], "data": rows}}


def install(venv: pathlib.Path, peers) -> None:
    if not (venv / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    wanted = ["fastapi", "uvicorn", "scikit-learn==1.9.1"]
    wanted += ["mlflow"] if "mlflow" in peers else []
    wanted += ["ray[serve]"] if "ray" in peers else []
    subprocess.run([venv / "bin" / "python", "-m", "pip", "install", "--quiet", *wanted], check=True)


def train(venv: pathlib.Path, folder: pathlib.Path, peers) -> None:
    """The reference job's model, by scikit-learn: ours has the same trees."""
    code = f"""
import joblib
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
x, y = make_classification(n_samples=2500, n_features=20, n_informative=10, n_redundant=10, n_classes=2, random_state=42)
model = RandomForestClassifier(n_estimators=75, max_depth=30, max_features=0.7, random_state=42).fit(x, y)
joblib.dump(model, {str(folder / "model.joblib")!r})
if {"mlflow" in peers}:
    import mlflow.sklearn, pandas
    frame = pandas.DataFrame(x[:1], columns=[f"x{{column}}" for column in range(20)])
    mlflow.sklearn.save_model(model, {str(folder / "mlflow_model")!r}, input_example=frame)
"""
    subprocess.run([venv / "bin" / "python", "-c", code], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def our_home(folder: pathlib.Path) -> pathlib.Path:
    home = folder / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in ("CARGO", "REDIS_URL", "MLFLOW_TRACKING_URI")}
    subprocess.run([ROOT / "target/release/regrove", "--json", "--home", home, "demo"], check=True, cwd=home, env=environment,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return home


def start(name, folder, venv, home):
    python = venv / "bin" / "python"
    if name == "regrove":
        environment = {"PORT": "PORT", "REGROVE_HOME": str(home), "RUST_LOG": "error", "K_SINK": "http://127.0.0.1:9/",
                       "REGROVE_BODY_BYTES_MAX": str(256 << 20)}
        return Server(name, [ROOT / "target/release/predict"], environment, "/predict", features, folder)
    if name == "fastapi":
        command = [python, "-m", "uvicorn", "fastapi_app:app", "--port", "PORT", "--log-level", "warning", "--no-access-log"]
        return Server(name, command, {"MODEL": str(folder / "model.joblib")}, "/predict", features, HERE)
    if name == "mlflow":
        command = [venv / "bin" / "mlflow", "models", "serve", "-m", folder / "mlflow_model", "-p", "PORT", "--env-manager", "local"]
        path = f"{venv / 'bin'}:{os.environ['PATH']}"
        return Server(name, command, {"PATH": path}, "/invocations", split, folder)
    if name == "ray":
        code = ("import ray, time; from ray import serve; ray.init(include_dashboard=False); "
                "serve.start(http_options={'port': PORT}); import ray_app; serve.run(ray_app.app); time.sleep(3600)")
        return Server(name, [python, "-c", code], {"MODEL": str(folder / "model.joblib"), "PYTHONPATH": str(HERE)}, "/predict",
                      features, folder)
    return sys.exit(f"unknown peer {name}")


def measure(server, arguments, folder):
    one = json.dumps(server.body([ROW])).encode()
    thousand = json.dumps(server.body([ROW] * 1000)).encode()
    server.load(4, 1, one, folder)  # warm
    result = {"first_ms": server.first_ms}
    for connections in (1, 16, 64):
        runs = [server.load(connections, arguments.seconds, one, folder) for _ in range(arguments.repeats)]
        result[connections] = {
            "p50_ms": min(run["p50"] for run in runs), "p99_ms": min(run["p99"] for run in runs),
            "per_second": max(run["per_second"] for run in runs),
            "per_cpu_second": statistics.median(run["requests"] / run["cpu"] for run in runs if run["cpu"]),
            "cpu_ms": statistics.median(run["cpu"] * 1000 / run["requests"] for run in runs if run["requests"]),
            "failed": sum(run["failed"] for run in runs),
        }
    rows = server.load(1, arguments.seconds, thousand, folder)
    result["thousand_rows_cpu_ms"] = rows["cpu"] * 1000 / max(rows["requests"], 1)
    result["pss_mib"] = resident(tree(server.process.pid))
    return result


def large(server, folder):
    """100,000 rows: JSON, then a binary tensor. Median of five, CPU milliseconds of the server and wall milliseconds."""
    rows = 100_000
    text = json.dumps(server.body([ROW] * rows)).encode()
    header = json.dumps({"inputs": [{"name": "input-0", "shape": [rows, 20], "datatype": "FP32",
                                     "parameters": {"binary_data_size": rows * 80}}], "parameters": {"binary_data_output": True}}).encode()
    tensor = header + struct.pack("<20f", *ROW) * rows
    shapes = {"JSON": (text, "/predict", None),
              "binary tensor": (tensor, "/v2/models/RandomForestClassifierModel/infer", {"inference-header-content-length": str(len(header))})}
    for name, (body, path, headers) in shapes.items():
        walls, cpus = [], []
        for _ in range(5):
            before, begun = cpu([server.process.pid]), time.perf_counter()
            server.ask(body, path, headers)
            walls.append((time.perf_counter() - begun) * 1000)
            cpus.append((cpu([server.process.pid]) - before) * 1000)
        print(f"  100,000 rows as {name:14} {len(body) / 1e6:6.1f} MB  CPU {statistics.median(cpus):7.1f} ms  wall {statistics.median(walls):7.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default="fastapi", help="of fastapi, mlflow, ray")
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--starts", type=int, default=20, help="starts of ours, for exec to first prediction")
    parser.add_argument("--venv", type=pathlib.Path, default=ROOT / "target" / "serving-venv")
    parser.add_argument("--no-install", action="store_true", help="take the environment as it is")
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is not installed: apt-get install wrk")
    peers = [peer for peer in arguments.peers.split(",") if peer]
    if not arguments.no_install:
        install(arguments.venv, peers)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="regrove-serving-"))
    try:
        train(arguments.venv, folder, peers)
        home = our_home(folder)
        results = {}
        for name in ["regrove", *peers]:
            server = start(name, folder, arguments.venv, home)
            results[name] = measure(server, arguments, folder)
            if name == "regrove":
                large(server, folder)
            server.stop()
        starts = []
        for _ in range(arguments.starts):
            server = start("regrove", folder, arguments.venv, home)
            starts.append(server.first_ms)
            server.stop()
        results["regrove"]["first_ms"] = statistics.median(starts)
        report(results)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def report(results) -> None:
    ours = results["regrove"]
    print(f"\n{'':10} {'first ms':>9} {'p50 ms':>8} {'p99 ms':>8} {'CPU ms':>8} {'req/CPU s at 1':>15} {'at 16':>9} {'at 64':>9} "
          f"{'1000 rows CPU ms':>17} {'PSS MiB':>8} {'failed':>7}")
    for name, result in results.items():
        per = [result[connections]["per_cpu_second"] for connections in (1, 16, 64)]
        failed = sum(result[connections]["failed"] for connections in (1, 16, 64))
        print(f"{name:10} {result['first_ms']:9.1f} {result[1]['p50_ms']:8.3f} {result[1]['p99_ms']:8.3f} {result[16]['cpu_ms']:8.3f} "
              f"{per[0]:15.0f} {per[1]:9.0f} {per[2]:9.0f} {result['thousand_rows_cpu_ms']:17.2f} {result['pss_mib']:8.1f} {failed:7}")
    for name, result in results.items():
        if name != "regrove":
            ratios = [ours[connections]["per_cpu_second"] / result[connections]["per_cpu_second"] for connections in (1, 16, 64)]
            print(f"ours / {name}: requests per CPU second × {ratios[0]:.0f}, {ratios[1]:.0f}, {ratios[2]:.0f} at 1, 16, 64 connections; "
                  f"p50 × {result[1]['p50_ms'] / ours[1]['p50_ms']:.0f}; first prediction × {result['first_ms'] / ours['first_ms']:.0f}")


if __name__ == "__main__":
    main()
