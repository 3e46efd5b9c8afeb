# Runs a server until standard input closes, which is when whoever started this one ended, however it did.
import os, signal, subprocess, sys, threading

PATIENCE_SECONDS = 5

# The signal for the whole group is not for this process; a handler, other than SIG_IGN, is not inherited.
signal.signal(signal.SIGTERM, lambda *_: None)
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
ending = False


def follow():
    status = server.wait()
    if not ending:
        # What it had started is not to serve on without it.
        os.killpg(0, signal.SIGTERM)
        os._exit(status if status >= 0 else 1)


threading.Thread(target=follow, daemon=True).start()
sys.stdin.buffer.read()
ending = True
os.killpg(0, signal.SIGTERM)
try:
    server.wait(PATIENCE_SECONDS)
except subprocess.TimeoutExpired:
    pass
# Its workers too, and this process with them.
os.killpg(0, signal.SIGKILL)
