"""One gRPC call, step by step, and what both ends saw of it.

A script is a list of steps. Each is done by one side and must be seen by the other before the
next begins: nothing may be held back on the way. Played against the server itself and through
dispatchers, the transcripts can be compared.
"""

import queue

import http2

METHOD = b"/wire.v1.Wire/Talk"


class Step:
    def __init__(self, side, kind, value=None, end=False):
        self.side, self.kind, self.value, self.end = side, kind, value, end


def client_says(*parts, end=False):
    return Step("client", "data", b"".join(parts), end)


def client_resets(code=http2.CANCEL):
    return Step("client", "reset", code)


def server_headers(*fields):
    """The beginning of an answer."""
    return Step("server", "headers", [(b":status", b"200"), (b"content-type", b"application/grpc"),
                                      *fields])


def server_answers(*fields):
    """All of an answer in one block of headers: trailers-only, or no gRPC at all."""
    return Step("server", "headers", list(fields), True)


def server_says(*parts):
    return Step("server", "data", b"".join(parts))


def server_ends(*fields):
    return Step("server", "trailers", list(fields), True)


def server_resets(code):
    return Step("server", "reset", code)


class Side:
    """One end of the call, and how far the script got there."""

    def __init__(self, name, connection, stream):
        self.name, self.connection, self.stream = name, connection, stream
        self._expected = 0  # bytes of messages

    def do(self, step):
        c, s = self.connection, self.stream
        if step.kind == "data":
            c.send_data(s, step.value, step.end)
        elif step.kind == "reset":
            c.reset(s, step.value)
        else:
            c.send_headers(s, step.value, step.end)

    def see(self, step):
        """Wait for what the other side did; any end of the call will do."""
        s = self.stream
        if step.kind == "data":
            self._expected += len(step.value)

        def seen():
            if s.closed or step.end or step.kind == "reset":
                return s.closed
            return s.headers is not None and len(s.data) >= self._expected

        self.connection.wait(seen, "%s waits for %s of the other side" % (self.name, step.kind))

    def transcript(self):
        s = self.stream
        return {"headers": s.headers, "messages": http2.messages(s.data),
                "trailers": s.trailers,
                "end": "reset %d" % s.reset if s.reset is not None else "end" if s.ended else ""}


class Stage:
    """The server that scripts are played against."""

    def __init__(self):
        self._requests = queue.Queue()
        self.server = http2.Server(lambda *request: self._requests.put(request))
        self.address = self.server.address

    def close(self):
        self.server.close()

    def _arrived(self, client):
        try:
            return self._requests.get(timeout=http2.TIMEOUT_S)
        except queue.Empty:
            raise AssertionError("the call did not arrive: %s" % client.transcript()) from None

    def play(self, address, fields, steps):
        """Both transcripts of the call through `address`: (client's, server's)."""
        headers = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", METHOD),
                   (b":authority", b"wire.test"), (b"te", b"trailers"),
                   (b"content-type", b"application/grpc"), *fields]
        connection = http2.connect(address)
        try:
            client = Side("client", connection, connection.open(headers))
            server = Side("server", *self._arrived(client))
            for step in steps:
                actor, other = ((client, server) if step.side == "client" else (server, client))
                actor.do(step)
                other.see(step)
            return client.transcript(), server.transcript()
        finally:
            connection.close()
