#!/usr/bin/env python3
"""Measures `predict` beside the servers that people use now: the same model, the same rows, in one run.

    cargo build --release --workspace --bins
    python3 benches/serving/serving.py                          ours and FastAPI + uvicorn + scikit-learn
    python3 benches/serving/serving.py --peers fastapi,ray,mlflow,mlserver

Installs each peer into an environment of its own under --venv (target/serving-venv) when it is not there, from the lists in
requirements/, and needs `wrk` (Debian: apt-get install wrk).
Prints per server: p50 and p99 at 1 connection, requests per second of the server's own CPU at 1, 16 and 64 connections,
CPU per request, resident memory of its processes, time from exec to the first prediction, and bodies of 1,000 and 100,000
rows, as JSON and, where it is spoken, as a binary tensor. For ours also what a row costs in bodies of 1, 32 and 1,000 rows.
CPU time is the server's, from /proc, so that neither wrk nor other programs count. Ratios are to ours.
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
# Of the starts so many are measured again when they have waited for a while.
WAITING = 3


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


class Unmeasured(Exception):
    """Why a server is not in the table."""


class Server:
    """A server with the model, as its users start it."""

    def __init__(self, name, command, environment, path, body, cwd, port=None):
        self.name, self.path, self.body, self.port = name, path, body, port or free_port()
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
                    self.stop()
                    raise Unmeasured(f"{self.name} does not answer on port {self.port}")
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
        if self.process.poll() is not None:
            return
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


def tensor(rows):
    flat = [value for row in rows for value in row]
    inputs = [{"name": "input-0", "shape": [len(rows), len(rows[0])], "datatype": "FP64", "data": flat}]
    return {"inputs": inputs, "outputs": [{"name": "predict"}, {"name": "predict_proba"}]}


def install(venv: pathlib.Path, peer: str) -> None:
    folder = venv / peer
    if (folder / "bin" / "python").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-r", HERE / "requirements" / f"{peer}.txt"], check=True)


def train(venv: pathlib.Path, folder: pathlib.Path, peer: str) -> None:
    """The reference job's model, by the peer's own scikit-learn: ours has the same trees."""
    folder.mkdir()
    code = f"""
import joblib
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
x, y = make_classification(n_samples=2500, n_features=20, n_informative=10, n_redundant=10, n_classes=2, random_state=42)
model = RandomForestClassifier(n_estimators=75, max_depth=30, max_features=0.7, random_state=42).fit(x, y)
joblib.dump(model, {str(folder / "model.joblib")!r})
if {peer == "mlflow"}:
    import mlflow.sklearn, pandas
    frame = pandas.DataFrame(x[:1], columns=[f"x{{column}}" for column in range(20)])
    mlflow.sklearn.save_model(model, {str(folder / "mlflow_model")!r}, input_example=frame, serialization_format="cloudpickle")
"""
    subprocess.run([venv / peer / "bin" / "python", "-c", code], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if peer == "mlserver":
        model = {"name": "rf", "implementation": "mlserver_sklearn.SKLearnModel",
                 "parameters": {"uri": str(folder / "model.joblib"), "version": "1"}}
        (folder / "model-settings.json").write_text(json.dumps(model))


def our_home(folder: pathlib.Path) -> pathlib.Path:
    home = folder / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in ("CARGO", "REDIS_URL", "MLFLOW_TRACKING_URI")}
    subprocess.run([ROOT / "target/release/regrove", "--json", "--home", home, "demo"], check=True, cwd=home, env=environment,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return home


def start(name, folder, venv, home):
    if name == "regrove":
        environment = {"PORT": "PORT", "REGROVE_HOME": str(home), "RUST_LOG": "error", "K_SINK": "http://127.0.0.1:9/",
                       "REGROVE_BODY_BYTES_MAX": str(256 << 20)}
        return Server(name, [ROOT / "target/release/predict"], environment, "/predict", features, folder)
    folder, bin = folder / name, venv / name / "bin"
    environment = {"MODEL": str(folder / "model.joblib"), "PYTHONPATH": str(HERE), "PATH": f"{bin}:{os.environ['PATH']}"}
    if name == "fastapi":
        command = [bin / "python", "-m", "uvicorn", "fastapi_app:app", "--port", "PORT", "--log-level", "warning", "--no-access-log"]
        return Server(name, command, environment, "/predict", features, folder)
    if name == "mlflow":
        command = [bin / "mlflow", "models", "serve", "-m", folder / "mlflow_model", "-p", "PORT", "--env-manager", "local"]
        return Server(name, command, environment, "/invocations", split, folder)
    if name == "mlserver":
        ports = {"http_port": free_port(), "grpc_port": free_port(), "metrics_port": free_port()}
        # Its workers find no event loop in Python 3.11: the model runs in the server itself.
        (folder / "settings.json").write_text(json.dumps({**ports, "host": "127.0.0.1", "debug": False, "parallel_workers": 0}))
        return Server(name, [bin / "mlserver", "start", folder], environment, "/v2/models/rf/infer", tensor, folder, ports["http_port"])
    if name == "ray":
        code = ("import ray, time; from ray import serve; ray.init(include_dashboard=False); "
                "serve.start(http_options={'port': PORT}); import ray_app; serve.run(ray_app.app); time.sleep(3600)")
        return Server(name, [bin / "python", "-c", code], environment, "/predict", features, folder)
    return sys.exit(f"unknown peer {name}")


def measure(server, arguments, folder):
    one = json.dumps(server.body([ROW])).encode()
    server.load(4, 1, one, folder)  # warm
    result = {}
    for connections in (1, 16, 64):
        runs = [server.load(connections, arguments.seconds, one, folder) for _ in range(arguments.repeats)]
        result[connections] = {
            "p50_ms": min(run["p50"] or 60_000.0 for run in runs), "p99_ms": min(run["p99"] or 60_000.0 for run in runs),
            "per_second": max(run["per_second"] for run in runs),
            "per_cpu_second": statistics.median(run["requests"] / run["cpu"] for run in runs if run["cpu"]),
            "cpu_ms": statistics.median(run["cpu"] * 1000 / run["requests"] for run in runs if run["requests"]),
            "failed": sum(run["failed"] for run in runs),
        }
    result["pss_mib"] = resident(tree(server.process.pid))
    return result


BINARY = {"regrove": "/v2/models/RandomForestClassifierModel/infer", "mlserver": "/v2/models/rf/infer"}


def large(server, repeats):
    """Bodies of many rows: median CPU milliseconds of the server, and wall milliseconds."""
    result = {}
    for rows in (1_000, 100_000):
        bodies = {"JSON": (json.dumps(server.body([ROW] * rows)).encode(), None, None)}
        if server.name in BINARY:
            size = rows * len(ROW) * 4
            header = json.dumps({"inputs": [{"name": "input-0", "shape": [rows, len(ROW)], "datatype": "FP32",
                                             "parameters": {"binary_data_size": size}}],
                                 "parameters": {"binary_data_output": True}}).encode()
            packed = header + struct.pack(f"<{len(ROW)}f", *ROW) * rows
            headers = {"inference-header-content-length": str(len(header)), "content-type": "application/octet-stream"}
            bodies["binary"] = (packed, BINARY[server.name], headers)
        for shape, (body, path, headers) in bodies.items():
            walls, cpus = [], []
            # A clock tick is 10 ms: small bodies are sent often enough to be seen.
            times = 100 if rows == 1_000 else 1
            try:
                for _ in range(repeats):
                    before, begun = cpu(tree(server.process.pid)), time.perf_counter()
                    for _ in range(times):
                        server.ask(body, path, headers)
                    walls.append((time.perf_counter() - begun) * 1000 / times)
                    cpus.append((cpu(tree(server.process.pid)) - before) * 1000 / times)
                result[rows, shape] = (len(body) / 1e6, statistics.median(cpus), statistics.median(walls))
            except (OSError, http.client.HTTPException, ValueError) as error:
                result[rows, shape] = f"refused: {str(error)[:120]}"
    return result


def batching(server, seconds, folder):
    """What a row costs, alone and in company: what batching requests together could save, at most."""
    print("\nours, by rows per request: CPU µs per request and per row")
    for rows in (1, 32, 1_000):
        body = json.dumps(server.body([ROW] * rows)).encode()
        runs = [server.load(16, seconds, body, folder) for _ in range(3)]
        per_request = statistics.median(run["cpu"] * 1e6 / run["requests"] for run in runs)
        print(f"  {rows:5} rows {per_request:9.1f} {per_request / rows:8.2f}")


def cold(home, starts):
    """From exec to the first answer, the listening socket inherited and the request waiting on it, as the gateway does it."""
    body = json.dumps(features([ROW])).encode()
    head = f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    environment = {"REGROVE_HOME": str(home), "RUST_LOG": "error", "LISTEN_FDS": "1"}
    walls, cpus, sizes, waiting = [], [], [], []
    for start in range(starts):
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
            client.sendall(head.encode() + body)
            clock, said = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.dup2(listener.fileno(), 3)
                os.set_inheritable(3, True)
                os.write(said, struct.pack("d", time.perf_counter()))
                os.execve(ROOT / "target/release/predict", ["predict"], environment)
            answer = client.recv(4096)
            walls.append((time.perf_counter() - struct.unpack("d", os.read(clock, 8))[0]) * 1000)
            assert answer.startswith(b"HTTP/1.1 200"), answer
            tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
            cpus.append(sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6)
            sizes.append(resident([pid]))
            if start < WAITING:
                time.sleep(2)
                client.sendall(head.encode() + body)
                assert client.recv(4096).startswith(b"HTTP/1.1 200")
                waiting.append(resident([pid]))
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
            os.close(clock)
            os.close(said)
    walls.sort()
    print(f"ours, exec to the first answer with an inherited socket: p50 {statistics.median(walls):.2f} ms, best {walls[0]:.2f} ms, "
          f"CPU {statistics.median(cpus):.2f} ms, PSS then {statistics.median(sizes):.1f} MiB, "
          f"after two seconds and another answer {statistics.median(waiting):.1f} MiB")


def keep_awake() -> list:
    """Programs that take what is left of every processor: to wake one that sleeps is an exit of a virtual machine, which is
    counted as CPU time of whoever wakes it."""
    spin = "import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile True: pass"
    return [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(os.cpu_count() or 1)]


def one(name, arguments, folder, home):
    """All figures of one server."""
    starts = []
    for _ in range(arguments.starts if name == "regrove" else 3):
        server = start(name, folder, arguments.venv, home)
        starts.append(server.first_ms)
        server.stop()
    server = start(name, folder, arguments.venv, home)
    try:
        result = measure(server, arguments, folder)
        result["first_ms"] = statistics.median(starts)
        result["large"] = large(server, 5 if name == "regrove" else 1)
        if name == "regrove":
            batching(server, arguments.seconds, folder)
    finally:
        server.stop()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default="fastapi", help="of fastapi, ray, mlflow, mlserver")
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--starts", type=int, default=20, help="starts of ours, for exec to first prediction; of a peer three")
    parser.add_argument("--venv", type=pathlib.Path, default=ROOT / "target" / "serving-venv")
    parser.add_argument("--awake", action="store_true", help="keep the processors from sleeping while requests are counted")
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is not installed: apt-get install wrk")
    peers = [peer for peer in arguments.peers.split(",") if peer]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="regrove-serving-"))
    spinning = []
    try:
        for peer in peers:
            install(arguments.venv, peer)
            train(arguments.venv, folder / peer, peer)
        home = our_home(folder)
        cold(home, arguments.starts)
        if arguments.awake:
            spinning += keep_awake()
        results = {}
        for name in ["regrove", *peers]:
            try:
                results[name] = one(name, arguments, folder, home)
                print(f"{name}: measured", file=sys.stderr)
            except Unmeasured as reason:
                print(f"{name}: not measured: {reason}", file=sys.stderr)
        report(results)
    finally:
        for spinner in spinning:
            spinner.kill()
        shutil.rmtree(folder, ignore_errors=True)


def report(results) -> None:
    ours = results["regrove"]
    print(f"\n{'':10} {'first ms':>9} {'p50 ms':>8} {'p99 ms':>8} {'CPU ms':>8} {'req/CPU s at 1':>15} {'at 16':>9} {'at 64':>9} "
          f"{'PSS MiB':>8} {'failed':>7}")
    for name, result in results.items():
        per = [result[connections]["per_cpu_second"] for connections in (1, 16, 64)]
        failed = sum(result[connections]["failed"] for connections in (1, 16, 64))
        print(f"{name:10} {result['first_ms']:9.1f} {result[1]['p50_ms']:8.3f} {result[1]['p99_ms']:8.3f} {result[16]['cpu_ms']:8.3f} "
              f"{per[0]:15.0f} {per[1]:9.0f} {per[2]:9.0f} {result['pss_mib']:8.1f} {failed:7}")
    for name, result in results.items():
        if name != "regrove":
            ratios = [ours[connections]["per_cpu_second"] / result[connections]["per_cpu_second"] for connections in (1, 16, 64)]
            print(f"ours / {name}: requests per CPU second × {ratios[0]:.0f}, {ratios[1]:.0f}, {ratios[2]:.0f} at 1, 16, 64 connections; "
                  f"p50 × {result[1]['p50_ms'] / ours[1]['p50_ms']:.0f}; first prediction × {result['first_ms'] / ours['first_ms']:.0f}")
    print("\nlarge bodies: MB, CPU ms, wall ms")
    for name, result in results.items():
        for (rows, shape), measured in result["large"].items():
            shown = measured if isinstance(measured, str) else "{:7.2f} {:9.1f} {:9.1f}".format(*measured)
            print(f"  {name:10} {rows:7} rows {shape:6} {shown}")


if __name__ == "__main__":
    main()
