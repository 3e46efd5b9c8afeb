#!/usr/bin/env python3
"""Measures the local runtime beside nginx and beside what it starts, in one run.

    apt-get install nginx-light wrk
    cargo build --release
    python3 benches/runtime.py [hop] [cold] [events] [idle] [queue]

hop     the same replica directly, through the gateway and through nginx as a reverse proxy with kept connections:
        requests per CPU second of the proxy at 16 connections, and the median latency at one. Rounds alternate.
cold    from a request at zero replicas to its first byte, beside the same process (train-shard) started by hand on a
        socket with a request in it.
events  events per second from the ingress to an acknowledged subscriber, on disk before the 202, beside the same posts
        straight at the subscriber, and the median time from the post to the subscriber at one event at a time.
idle    resident memory and CPU of a runtime that has nothing to do.
queue   10,000 requests that wait at zero replicas: how many are answered, and how long the last took.

Other programs disturb wall time; CPU seconds less so. Only the standard library is needed.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import pty
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
REGROVE = ROOT / "target/release/regrove"
FUNCTION = ROOT / "target/release/train-shard"
TICKS = os.sysconf("SC_CLK_TCK")
ROUNDS = 5
SECONDS = 4

NGINX = """
worker_processes 1; pid {folder}/{name}.pid; error_log {folder}/{name}.log crit; daemon off;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  {body}
}}
"""
REPLICA = 'server {{ listen 127.0.0.1:{port}; location / {{ return 200 "hello\\n"; }} location /ack {{ return 204; }} }}'
PROXY = """upstream replica {{ server 127.0.0.1:{to}; keepalive 64; }}
server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://replica; proxy_http_version 1.1;
  proxy_set_header Connection ""; proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; }} }}"""

# train-shard wants to know where its events go; none is sent.
SINK = "http://127.0.0.1:9"
SERVICE = """apiVersion: serving.knative.dev/v1
kind: Service
metadata: {{name: hello}}
spec:
  template:
    metadata: {{annotations: {annotations}}}
    spec: {{containers: [{{image: hello, env: [{{name: K_SINK, value: "{sink}"}}]}}]}}
---
"""
EVENTING = """apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {{name: default}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {{name: t}}
spec: {{broker: default, subscriber: {{uri: "{uri}"}}}}
---
"""
POST = """local n = 0
local run = tostring({})
wrk.method = "POST"
wrk.body = '{{"n":1,"text":"an event of an ordinary size"}}'
wrk.headers["content-type"] = "application/json"
wrk.headers["ce-specversion"] = "1.0"
wrk.headers["ce-source"] = "/bench"
wrk.headers["ce-type"] = "bench"
function request()
  n = n + 1
  wrk.headers["ce-id"] = run .. "-" .. n
  return wrk.format()
end
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            return socket.create_connection(("127.0.0.1", port), 1).close()
        time.sleep(0.005)
    sys.exit(f"nothing listens on port {port}")


def cpu(pid):
    """CPU seconds of a process and the children that it has now."""
    total = 0
    for process in [pid, *children(pid)]:
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def own_cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def children(pid):
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found


class Nginx:
    def __init__(self, folder, name, body):
        config = folder / f"{name}.conf"
        config.write_text(NGINX.format(folder=folder, name=name, body=body))
        self.process = subprocess.Popen(["nginx", "-c", config], stderr=subprocess.DEVNULL)

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Up:
    """`regrove up` with a manifest on a terminal, where it draws its view once a second instead of a line per event."""

    def __init__(self, folder, manifest, *more):
        (folder / "app.yaml").write_text(manifest)
        self.gateway, self.ingress, record = free_port(), free_port(), free_port()
        self.api = f"http://127.0.0.1:{self.ingress}/-"
        command = [REGROVE, "up", "-f", folder / "app.yaml", "--home", folder / "home", "--gateway-port", str(self.gateway)]
        command += ["--ingress-port", str(self.ingress), "--record-port", str(record), *more]
        environment = {k: v for k, v in os.environ.items() if k not in ("CARGO", "REDIS_URL", "MLFLOW_TRACKING_URI")}
        self.terminal, other = pty.openpty()
        self.process = subprocess.Popen(command, stdin=other, stdout=other, stderr=other, env=environment)
        os.close(other)
        threading.Thread(target=self._drain, daemon=True).start()
        wait_for(self.ingress)

    def _drain(self):
        with contextlib.suppress(OSError):
            while os.read(self.terminal, 65536):
                pass

    def status(self):
        with urllib.request.urlopen(self.api + "/status") as answer:
            return json.load(answer)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def wrk(port, connections, seconds, host=None, script=None, path="/"):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", f"http://127.0.0.1:{port}{path}"]
    command += ["-H", f"Host: {host}"] if host else []
    command += ["-s", script] if script else []
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        print(text, file=sys.stderr)
    unit = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    value, name = re.search(r"50%\s+([\d.]+)(us|ms|s)", text).groups()
    return int(re.search(r"(\d+) requests in", text).group(1)), float(value) * unit[name]


def hop(folder):
    port, proxied = free_port(), free_port()
    annotations = '{autoscaling.knative.dev/max-scale: "1"}'
    # The replica is nginx too, told its port by the runtime.
    (folder / "replica.sh").write_text(f"sed s/@@/$PORT/ {folder}/replica.in > {folder}/replica.conf; exec nginx -c {folder}/replica.conf\n")
    (folder / "replica.in").write_text(NGINX.format(folder=folder, name="replica", body=REPLICA.format(port="@@")))
    up = Up(folder, SERVICE.format(annotations=annotations, sink=SINK), "--exec", f"hello=sh {folder}/replica.sh")
    host = "hello.default.localhost"
    wrk(up.gateway, 1, 1, host)
    replica = int(re.search(r"127.0.0.1:(\d+)", (folder / "replica.conf").read_text()).group(1))
    nginx = Nginx(folder, "proxy", PROXY.format(to=replica, port=proxied))
    wait_for(proxied)
    ways = {"direct": (replica, None), "regrove": (up.gateway, host), "nginx": (proxied, host)}
    per_cpu, p50, cpus = {"regrove": [], "nginx": []}, {way: [] for way in ways}, {}
    cpus["regrove"] = lambda: own_cpu(up.process.pid)
    cpus["nginx"] = lambda: cpu(nginx.process.pid)
    for _ in range(ROUNDS):
        for way, (to, name) in ways.items():
            p50[way].append(wrk(to, 1, 2, name)[1])
            if way == "direct":
                continue
            before = cpus[way]()
            requests, _ = wrk(to, 16, SECONDS, name)
            per_cpu[way].append(requests / (cpus[way]() - before))
    nginx.stop()
    up.stop()
    ours, theirs = (statistics.median(per_cpu[way]) for way in ("regrove", "nginx"))
    print(f"hop: {ours:,.0f} requests per CPU second, nginx {theirs:,.0f}: ratio {ours / theirs:.2f}")
    direct, ours, theirs = (statistics.median(p50[way]) for way in ways)
    print(f"hop: p50 {direct:.3f} ms direct, +{ours - direct:.3f} ms through the gateway, +{theirs - direct:.3f} ms through nginx")


def by_hand(folder):
    """Milliseconds from exec to the first byte, the request waiting in the inherited socket."""
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    client.settimeout(60)
    client.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    environment = {**os.environ, "LISTEN_FDS": "1", "PORT": "1", "K_SINK": SINK, "REGROVE_HOME": str(folder / "home")}
    nowhere = [(os.POSIX_SPAWN_OPEN, to, os.devnull, os.O_WRONLY, 0) for to in (1, 2)]
    inherited = [(os.POSIX_SPAWN_DUP2, listener.fileno(), 3)]
    began = time.perf_counter()
    # As cheap as a start can be: subprocess would copy this program first.
    process = os.posix_spawn(FUNCTION, [FUNCTION], environment, file_actions=inherited + nowhere)
    if client.recv(12) != b"HTTP/1.1 200":
        sys.exit(f"{FUNCTION} does not answer")
    took = (time.perf_counter() - began) * 1e3
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    client.close()
    listener.close()
    return took


def cold(folder):
    annotations = '{regrove.io/listen-fds: "true"}'
    up = Up(folder, SERVICE.format(annotations=annotations, sink=SINK), "--exec", f"hello={FUNCTION}", "--fast-time", "1000")
    through, alone = [], []

    def behind_the_gateway():
        client = socket.create_connection(("127.0.0.1", up.gateway))
        began = time.perf_counter()
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: hello.default.localhost\r\n\r\n")
        if client.recv(12) != b"HTTP/1.1 200":
            sys.exit(f"{FUNCTION} does not answer behind the gateway")
        through.append((time.perf_counter() - began) * 1e3)
        client.close()
        while (service := up.status()["services"][0])["ready"] + service["starting"] + service["draining"]:
            time.sleep(0.02)

    for turn in range(30):
        # Whoever comes second finds warmer caches.
        if turn % 2:
            behind_the_gateway()
        alone.append(by_hand(folder))
        if not turn % 2:
            behind_the_gateway()
    starts = json.load(urllib.request.urlopen(up.api + "/cold-starts"))
    up.stop()
    ours, theirs = statistics.median(through), statistics.median(alone)
    print(f"cold: p50 {ours:.1f} ms through the activator, {theirs:.1f} ms by hand: ratio {ours / theirs:.2f}")
    parts = ("queue_ms", "spawn_ms", "ready_ms", "first_byte_ms")
    print("cold: parts " + ", ".join(f"{part[:-3]} {statistics.median(start[part] for start in starts):.2f} ms" for part in parts))


def events(folder):
    port = free_port()
    subscriber = Nginx(folder, "subscriber", REPLICA.format(port=port))
    wait_for(port)
    up = Up(folder, EVENTING.format(uri=f"http://127.0.0.1:{port}/ack"))
    script = folder / "post.lua"
    rates, cpus, straight = [], [], []
    for turn in range(3):
        script.write_text(POST.format(turn))
        before, spent, began = up.status()["events"], own_cpu(up.process.pid), time.perf_counter()
        wrk(up.ingress, 64, SECONDS, script=script, path="/default/default")
        while (now := up.status()["events"])["delivered"] < now["accepted"]:
            time.sleep(0.005)
        took, count = time.perf_counter() - began, now["delivered"] - before["delivered"]
        rates.append(count / took)
        cpus.append((own_cpu(up.process.pid) - spent) / count * 1e6)
        straight.append(wrk(port, 64, SECONDS, script=script, path="/ack")[0] / SECONDS)
    print(f"events: {statistics.median(rates):,.0f} per second, {statistics.median(cpus):.0f} µs of CPU each")
    ratio = statistics.median(rate / direct for rate, direct in zip(rates, straight, strict=True))
    print(f"events: straight at the subscriber {statistics.median(straight):,.0f} per second: ratio {ratio:.2f}")
    subscriber.stop()
    up.stop()
    shutil.rmtree(folder / "home")
    latency(folder)


def latency(folder):
    """One event at a time; the subscriber is a thread here."""
    listener = socket.create_server(("127.0.0.1", 0))
    arrived = []

    def serve():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection):
        while data := connection.recv(65536):
            while b"\r\n\r\n" not in data:
                data += connection.recv(65536)
            arrived.append(time.perf_counter())
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()
    up = Up(folder, EVENTING.format(uri=f"http://127.0.0.1:{listener.getsockname()[1]}/"))
    client = socket.create_connection(("127.0.0.1", up.ingress))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    took = []
    for number in range(500):
        head = f"POST /default/default HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nce-specversion: 1.0\r\nce-id: {number}\r\n"
        began = time.perf_counter()
        client.sendall((head + "ce-source: /bench\r\nce-type: t\r\n\r\n").encode())
        assert b" 202 " in client.recv(4096)
        while len(arrived) <= number:
            time.sleep(0)
        took.append((arrived[number] - began) * 1e3)
    up.stop()
    print(f"events: p50 {statistics.median(took):.2f} ms from the post to the subscriber")


def idle(folder):
    up = Up(folder, SERVICE.format(annotations="{}", sink=SINK) + EVENTING.format(uri="http://127.0.0.1:9"), "--exec", f"hello={FUNCTION}")
    time.sleep(2)
    before = own_cpu(up.process.pid)
    time.sleep(20)
    spent = own_cpu(up.process.pid) - before
    resident = int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{up.process.pid}/status").read_text()).group(1))
    up.stop()
    print(f"idle: {resident / 1024:.1f} MiB resident, {spent / 20:.2%} of a CPU")


async def ask(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: hello.default.localhost\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer[9:12]


def queue(folder):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    go = folder / "go"
    (folder / "wait.sh").write_text(f"while [ ! -e {go} ]; do sleep 0.05; done; exec {FUNCTION}\n")
    annotations = '{regrove.io/listen-fds: "true", autoscaling.knative.dev/max-scale: "1"}'
    up = Up(folder, SERVICE.format(annotations=annotations, sink=SINK), "--exec", f"hello=sh {folder}/wait.sh")

    async def all_of_them():
        tasks = [asyncio.create_task(ask(up.gateway)) for _ in range(10_000)]
        while sum(up.status()["services"][0][part] for part in ("waiting", "in_flight")) < 10_000:
            await asyncio.sleep(0.1)
        go.touch()
        began = time.perf_counter()
        answers = await asyncio.gather(*tasks)
        return answers.count(b"200"), time.perf_counter() - began

    answered, took = asyncio.run(all_of_them())
    up.stop()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print(f"queue: {answered:,} of 10,000 answered, the last {took:.1f} s after the replica could start")


def main():
    parts = {"hop": hop, "cold": cold, "events": events, "idle": idle, "queue": queue}
    chosen = sys.argv[1:] or list(parts)
    for name in chosen:
        if name not in parts:
            sys.exit(__doc__)
    for program in ("nginx", "wrk"):
        if not shutil.which(program):
            sys.exit(f"{program} is missing: apt-get install nginx-light wrk")
    for name in chosen:
        with tempfile.TemporaryDirectory(prefix="regrove-bench-") as folder:
            parts[name](pathlib.Path(folder))


if __name__ == "__main__":
    main()
