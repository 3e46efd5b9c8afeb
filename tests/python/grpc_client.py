"""Calls every method of grpc_server.py with `grpcio`, as it is, through a gateway: ADDRESS AUTHORITY.

Prints what came back as a JSON object.
"""

import json
import queue
import sys

import grpc

NAME = "regrove.tests.Echo"
LARGE_BYTES = 3_000_000
WAIT_SECONDS = 60


def talk(channel):
    """What came back for each message, the next one sent only then."""
    messages = queue.Queue()
    answers = channel.stream_stream(f"/{NAME}/Talk")(iter(messages.get, None), timeout=WAIT_SECONDS)
    heard = []
    for word in (b"one", b"two", b"three"):
        messages.put(word)
        heard.append(next(answers).decode())
    messages.put(None)
    return {"heard": heard, "more": [answer.decode() for answer in answers], "code": answers.code().name}


def refused(call):
    """The status of a call that fails."""
    try:
        call()
    except grpc.RpcError as error:
        return [error.code().name, error.details()]
    return None


def main():
    """Prints the object."""
    address, authority = sys.argv[1:]
    with grpc.insecure_channel(address, options=[("grpc.default_authority", authority)]) as channel:
        say, go = (channel.unary_unary(f"/{NAME}/{method}") for method in ("Say", "Go"))
        metadata = (("asked-by-bin", b"\x00\xff test"),)
        # The first call finds no replica: it waits for one.
        answer, call = say.with_call(b"hello", metadata=metadata, timeout=WAIT_SECONDS)
        trailers = dict(call.trailing_metadata())
        large = say(b"x" * LARGE_BYTES, metadata=metadata, timeout=WAIT_SECONDS)
        counted = channel.unary_stream(f"/{NAME}/Count")(b"5", timeout=WAIT_SECONDS)
        numbers = [next(counted).decode()]
        go(b"", timeout=WAIT_SECONDS)
        numbers += [number.decode() for number in counted]
        words = iter([b"a" * 1000, b"b" * 70_000, b""])
        hanging = channel.unary_stream(f"/{NAME}/Hang")(b"", timeout=WAIT_SECONDS)
        here = next(hanging).decode()
        hanging.cancel()
        seen = {
            "say": answer.decode(),
            "said_by": trailers["said-by"],
            "asked_by": list(trailers["asked-by-bin"]),
            "large": len(large),
            "count": numbers,
            "total": int(channel.stream_unary(f"/{NAME}/Total")(words, timeout=WAIT_SECONDS)),
            "talk": talk(channel),
            "hang": [here, channel.unary_unary(f"/{NAME}/Left")(b"", timeout=WAIT_SECONDS).decode()],
            "unknown_name": refused(lambda: say(b"nobody", timeout=WAIT_SECONDS)),
            "unknown_method": refused(lambda: channel.unary_unary(f"/{NAME}/Sing")(b"", timeout=WAIT_SECONDS)),
        }
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
