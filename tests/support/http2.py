"""HTTP/2 by hand, with python3-h2: both ends of a gRPC call that see every byte of it.

Unlike a gRPC library it neither adds nor hides anything: header fields as they are on the
wire, messages with their compression flag, and how a stream ended.
"""

import socket
import threading
import time

import h2.config
import h2.connection
import h2.events
import h2.settings

TIMEOUT_S = 30
CANCEL = 8  # RST_STREAM's code, RFC 9113 section 7


def message(payload, compressed=0):
    """A gRPC message as it is in DATA frames."""
    return bytes([compressed]) + len(payload).to_bytes(4, "big") + payload


def messages(data):
    """The messages in what DATA frames carried: [(compression flag, payload)]."""
    found = []
    while data:
        size = int.from_bytes(data[1:5], "big")
        assert len(data) >= 5 + size, "a message that is cut off"
        found.append((data[0], data[5:5 + size]))
        data = data[5 + size:]
    return found


class Stream:
    """What was received on one stream."""

    def __init__(self, number):
        self.number = number
        self.headers, self.trailers = None, None  # [(name, value)], bytes, in their order
        self.data = b""
        self.ended = False
        self.reset = None  # the code

    @property
    def closed(self):
        return self.ended or self.reset is not None


class Connection:
    """One end of a connection; a thread of its own reads."""

    def __init__(self, sock, client_side, accepted=None):
        self._socket = sock
        self._accepted = accepted
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=client_side, header_encoding=None, validate_inbound_headers=False,
            validate_outbound_headers=False, normalize_outbound_headers=False))
        self._changed = threading.Condition()  # guards the connection and its streams
        self.streams = {}
        self.lost = False
        with self._changed:
            self._h2.initiate_connection()
            self._flush()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self):
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._reader.join()
        self._socket.close()

    def _flush(self):
        data = self._h2.data_to_send()
        if data:
            self._socket.sendall(data)

    def _read(self):
        try:
            while True:
                data = self._socket.recv(65536)
                if not data:
                    break
                with self._changed:
                    for event in self._h2.receive_data(data):
                        self._take(event)
                    self._flush()
                    self._changed.notify_all()
        except OSError:
            pass
        with self._changed:
            self.lost = True
            self._changed.notify_all()

    def _take(self, event):
        number = getattr(event, "stream_id", None)
        if isinstance(event, (h2.events.RequestReceived, h2.events.ResponseReceived)):
            stream = self.streams.setdefault(number, Stream(number))
            stream.headers = [(bytes(n), bytes(v)) for n, v in event.headers]
            if self._accepted and isinstance(event, h2.events.RequestReceived):
                self._accepted(self, stream)
        elif isinstance(event, h2.events.TrailersReceived):
            self.streams[number].trailers = [(bytes(n), bytes(v)) for n, v in event.headers]
        elif isinstance(event, h2.events.DataReceived):
            self.streams[number].data += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, number)
        elif isinstance(event, h2.events.StreamEnded):
            self.streams[number].ended = True
        elif isinstance(event, h2.events.StreamReset):
            self.streams[number].reset = int(event.error_code)

    def wait(self, condition, what):
        deadline = time.monotonic() + TIMEOUT_S
        with self._changed:
            while not condition():
                left = deadline - time.monotonic()
                if left <= 0 or self.lost:
                    raise AssertionError("%s: %s" % (
                        "the connection was lost" if self.lost else "not in time", what))
                self._changed.wait(left)

    def open(self, headers, end=False):
        """A new stream."""
        with self._changed:
            number = self._h2.get_next_available_stream_id()
            stream = self.streams[number] = Stream(number)
            self._h2.send_headers(number, headers, end_stream=end)
            self._flush()
        return stream

    def send_headers(self, stream, headers, end=False):
        with self._changed:
            self._h2.send_headers(stream.number, headers, end_stream=end)
            self._flush()

    def send_data(self, stream, data, end=False):
        """As the other side's windows allow."""
        while data or end:
            self.wait(lambda: not data or stream.closed or
                      self._h2.local_flow_control_window(stream.number) > 0, "a window opens")
            with self._changed:
                size = min(len(data), self._h2.local_flow_control_window(stream.number),
                           self._h2.max_outbound_frame_size)
                last = end and size == len(data)
                self._h2.send_data(stream.number, data[:size], end_stream=last)
                self._flush()
            data, end = data[size:], end and not last

    def reset(self, stream, code):
        with self._changed:
            self._h2.reset_stream(stream.number, code)
            self._flush()


def connect(address):
    host, port = address.rsplit(":", 1)
    sock = socket.create_connection((host, int(port)), timeout=TIMEOUT_S)
    sock.settimeout(None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Connection(sock, client_side=True)


class Server:
    """Calls `accepted(connection, stream)` for each request, on the thread that reads."""

    def __init__(self, accepted):
        self._accepted = accepted
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        self._connections = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.append(Connection(sock, False, self._accepted))

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for connection in self._connections:
            connection.close()
