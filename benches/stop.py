#!/usr/bin/env python3
"""Measures how soon a stopped job has stopped, with the release binaries.

    cargo build --release --workspace --bins
    python3 benches/stop.py --stops 20 --rows 1000000

Jobs whose trees take seconds each are stopped by `regrove job stop` at random moments of a tree. Prints, from the start of that
command: when the job is cancelled, when its MLflow run is KILLED, and when the workers no longer work, which is when their
processes use less than a tenth of a processor. Only the standard library is needed.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parent.parent
GIVE_UP_SECONDS = 300
LOOK_SECONDS = 0.01
# Over this long a worker's use of the processor is looked at.
IDLE_SECONDS = 0.1
TICKS = os.sysconf("SC_CLK_TCK")


def ask(url: str, body: dict | None = None) -> dict:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"accept": "application/json", "content-type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        return json.load(answer)


def until(what: str, is_so) -> float:
    """The moment at which `is_so` is first true."""
    deadline = time.perf_counter() + GIVE_UP_SECONDS
    while not is_so():
        if time.perf_counter() > deadline:
            sys.exit(f"{what}: not within {GIVE_UP_SECONDS} s")
        time.sleep(LOOK_SECONDS)
    return time.perf_counter()


def workers(home: pathlib.Path) -> list[pathlib.Path]:
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            is_worker = os.readlink(process / "exe").endswith("/train-shard")
            if is_worker and f"REGROVE_HOME={home}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(process)
        except OSError:
            pass
    return found


def seconds_used(processes: list[pathlib.Path]) -> float:
    used = 0
    for process in processes:
        try:
            used += sum(int(field) for field in (process / "stat").read_text().rsplit(")", 1)[1].split()[11:13])
        except OSError:
            pass
    return used / TICKS


def rest(home: pathlib.Path) -> float:
    """The moment from which on the workers did nothing."""
    while True:
        began, before = time.perf_counter(), seconds_used(processes := workers(home))
        time.sleep(IDLE_SECONDS)
        if seconds_used(processes) - before < IDLE_SECONDS / 10:
            return began


def runs_killed(record: str, job: str) -> bool:
    experiments = ask(f"{record}/api/2.0/mlflow/experiments/search", {"max_results": 100}).get("experiments", [])
    query = {"experiment_ids": [each["experiment_id"] for each in experiments], "filter": f"tags.`regrove.job` = '{job}'"}
    runs = ask(f"{record}/api/2.0/mlflow/runs/search", query).get("runs", [])
    return bool(runs) and all(run["info"]["status"] == "KILLED" for run in runs)


def one(number: int, arguments: argparse.Namespace, started: dict, home: pathlib.Path, command: list, environment: dict) -> tuple:
    job = f"stopped-{number}"
    data = f"synthetic:make_classification?n_samples={arguments.rows}&n_features=20&n_informative=10&random_state={number}"
    train = [*command, "train", "--data", data, "--set", "n_estimators=1000", "--shards", "8", "--id", job, "--no-wait"]
    subprocess.run(train, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(f"{job} grows", lambda: seconds_used(workers(home)) > 0)
    before = seconds_used(workers(home))
    until(f"{job} grows on", lambda: seconds_used(workers(home)) > before + arguments.busy)
    time.sleep(random.random() * arguments.busy)
    began = time.perf_counter()
    subprocess.run([*command, "job", "stop", job], env=environment, check=True, stdout=subprocess.DEVNULL)
    is_cancelled = lambda: ask(f"{started['console']}/api/jobs/{job}")["state"] == "cancelled"
    with ThreadPoolExecutor() as watchers:
        watched = [watchers.submit(until, f"{job} is cancelled", is_cancelled),
                   watchers.submit(until, f"{job}'s run is KILLED", lambda: runs_killed(started["record"], job)),
                   watchers.submit(rest, home)]
    return tuple(moment.result() - began for moment in watched)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stops", type=int, default=20)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--busy", type=float, default=5, help="seconds of the processor that the workers use before they are stopped")
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target" / "release")
    arguments = parser.parse_args()
    home = pathlib.Path(tempfile.mkdtemp(prefix="regrove-stop-")).resolve()
    left_out = ("CARGO", "REDIS_URL", "MLFLOW_TRACKING_URI", "REGROVE_CONSOLE", "REGROVE_TOKEN")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    command = [arguments.binaries / "regrove", "--home", home]
    ports = [word for name in ("gateway", "ingress", "record", "console") for word in (f"--{name}-port", "0")]
    up = subprocess.Popen([*command, "up", "--json", *ports], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        started = json.loads(up.stdout.readline())
        # Its other lines must not fill the pipe.
        subprocess.Popen(["cat"], stdin=up.stdout, stdout=subprocess.DEVNULL)
        environment |= {"REGROVE_BROKER": f"{started['ingress']}/regrove/default", "REGROVE_GATEWAY": started["gateway"]}
        times = [one(number, arguments, started, home, command, environment) for number in range(arguments.stops)]
    finally:
        up.terminate()
        up.wait()
        shutil.rmtree(home, ignore_errors=True)
    print(f"{arguments.stops} jobs on {arguments.rows} rows, seconds from `regrove job stop`")
    for name, values in zip(("job cancelled", "run KILLED", "workers at rest"), zip(*times)):
        print(f"  {name:16} median {statistics.median(values):6.2f}, longest {max(values):6.2f}")


if __name__ == "__main__":
    main()
