"""Writes the greeting that an event asks for: a CloudEvents function with the `cloudevents` package and plain WSGI.

Takes `com.example.greeting.wanted` with data {"name": "Ada"}; replies with `com.example.greeting.written`.
"""

import os
import signal
import socketserver
import threading
import wsgiref.simple_server

from cloudevents.core.bindings import http
from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.v1.event import CloudEvent

GREETING = os.environ.get("GREETING", "Hello")
BODY_BYTES_MAX = 65536


def greet(event):
    """The greeting as an event; its id is derived, so that a repeated event gives the same reply."""
    name = event.get_data()["name"]
    attributes = {
        "id": f"{event.get_id()}/greeting",
        "source": "/examples/greeter",
        "type": "com.example.greeting.written",
        "time": event.get_time(),
        "datacontenttype": "application/json",
    }
    return CloudEvent({name: value for name, value in attributes.items() if value}, {"text": f"{GREETING}, {name}!"})


def headers_of(environ):
    """The request's headers, with the names that WSGI has changed changed back."""
    found = {key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key.startswith("HTTP_")}
    if environ.get("CONTENT_TYPE"):
        found["content-type"] = environ["CONTENT_TYPE"]
    return found


def application(environ, start_response):
    """The function, as WSGI wants it."""
    if environ["REQUEST_METHOD"] != "POST":
        start_response("405 Method Not Allowed", [("allow", "POST")])
        return []
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > BODY_BYTES_MAX:
        start_response("413 Content Too Large", [])
        return []
    body = environ["wsgi.input"].read(length)
    try:
        event = http.from_http_event(http.HTTPMessage(headers_of(environ), body))
        reply = http.to_binary_event(greet(event))
    except (CloudEventValidationError, KeyError, TypeError, ValueError) as error:
        # 400 is final: the broker does not send the event again.
        start_response("400 Bad Request", [("content-type", "text/plain; charset=utf-8")])
        return [f"not a greeting request: {error!r}".encode()]
    start_response("200 OK", list(reply.headers.items()))
    return [reply.body]


class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    """One thread per request; those under way may end."""

    daemon_threads = False


def main():
    """Serves until SIGTERM."""
    port = int(os.environ.get("PORT", "8080"))
    server = wsgiref.simple_server.make_server("", port, application, Server)
    # From another thread: shutdown() waits for the loop below.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    server.server_close()


if __name__ == "__main__":
    main()
