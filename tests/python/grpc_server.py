"""A gRPC server with a method of each kind; messages are plain bytes, so that no compiler of .proto files is needed.

What a client must see before it goes on is sent before the server waits for it: behind a proxy that buffers, nobody would get on.
"""

import os
import signal
import threading
from concurrent import futures

import grpc

NAME = "regrove.tests.Echo"
WAIT_SECONDS = 60

goes_on = threading.Event()
has_left = threading.Event()


def say(request, context):
    """The message again; who asked, and for which authority, in the trailers."""
    if request == b"nobody":
        context.abort(grpc.StatusCode.NOT_FOUND, "nobody of this name: ü")
    metadata = dict(context.invocation_metadata())
    context.set_trailing_metadata((("said-by", os.environ["K_REVISION"]), ("asked-by-bin", metadata["asked-by-bin"])))
    return request


def count(request, context):
    """One message, then, when `Go` was called, the others."""
    yield b"1"
    if not goes_on.wait(WAIT_SECONDS):
        context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "nobody said go")
    goes_on.clear()
    for number in range(2, int(request) + 1):
        yield str(number).encode()


def go(_request, _context):
    """Lets `Count` go on."""
    goes_on.set()
    return b""


def total(requests, _context):
    """How many bytes all messages have."""
    return str(sum(len(request) for request in requests)).encode()


def talk(requests, _context):
    """An answer to each message before the next one."""
    for request in requests:
        yield request.upper()


def hang(_request, context):
    """A message and nothing more, until the client leaves."""
    context.add_callback(has_left.set)
    yield b"here"
    has_left.wait(WAIT_SECONDS)


def left(_request, _context):
    """Whether the client of `Hang` has left."""
    return str(has_left.wait(WAIT_SECONDS)).encode()


def main():
    """Serves until SIGTERM."""
    handlers = {
        "Say": grpc.unary_unary_rpc_method_handler(say),
        "Go": grpc.unary_unary_rpc_method_handler(go),
        "Left": grpc.unary_unary_rpc_method_handler(left),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Hang": grpc.unary_stream_rpc_method_handler(hang),
        "Total": grpc.stream_unary_rpc_method_handler(total),
        "Talk": grpc.stream_stream_rpc_method_handler(talk),
    }
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))
    server.add_insecure_port(f"127.0.0.1:{os.environ['PORT']}")
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: server.stop(5))
    server.wait_for_termination()


if __name__ == "__main__":
    main()
