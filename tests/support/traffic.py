"""Calls made all the time while something goes wrong, and what became of each of them."""

import collections
import threading
import time

import grpc
from collector_testing import common_pb2, dispatcher_pb2 as dp, eventually, protos
from google.protobuf import wrappers_pb2

SERVICE = "mesh.v1.Ledger"
WORK_S = 0.05  # longer than from call to call: some are always under way
# Note may be done once; Repeat may be done again; Never waits until nobody waits for it.
TYPES = protos.Types(protos.compile_sources({"mesh/v1/ledger.proto": '''
syntax = "proto3";
package mesh.v1;
import "google/protobuf/wrappers.proto";
service Ledger {
  rpc Note(google.protobuf.StringValue) returns (google.protobuf.StringValue);
  rpc Repeat(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option idempotency_level = IDEMPOTENT;
  }
  rpc Never(google.protobuf.StringValue) returns (google.protobuf.StringValue);
}
'''}))

# How a call may end while a collector is away. Not OK, but its own: nothing of ours
# may be INTERNAL, UNKNOWN or the like.
AWAY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


def text(value):
    return wrappers_pb2.StringValue(value=value)


class Ledger:
    """What the handlers of all collectors ran: request id -> where."""

    def __init__(self):
        self._lock = threading.Lock()
        self.ran = collections.defaultdict(list)

    def handler(self, collector):
        def note(request, call):
            with self._lock:
                self.ran[request.value].append(collector)
            call.cancelled.wait(WORK_S)
            return text(collector)
        return note

    def of(self, request_id):
        with self._lock:
            return list(self.ran[request_id])

    def twice(self):
        """The requests of Note that were run more than once."""
        with self._lock:
            return {i: where for i, where in self.ran.items()
                    if len(where) > 1 and not i.startswith("Repeat")}


class Call:
    """One call. `code` is None while it is under way."""

    def __init__(self, request_id, native):
        self.id, self.native = request_id, native
        self.started, self.ended = time.monotonic(), None
        self.code, self.by, self.why = None, None, ""

    @property
    def ok(self):
        return self.code == grpc.StatusCode.OK

    def __repr__(self):
        return "%s (%s): %s by %s after %.3f s: %s" % (
            self.id, "native" if self.native else "Dispatch", self.code, self.by,
            (self.ended or time.monotonic()) - self.started, self.why)


CODES = {code.value[0]: code for code in grpc.StatusCode}


class Traffic:
    """Calls through one front door, until stop(): native ones and Dispatches in turn, or
    native ones alone."""

    _count = 0

    def __init__(self, client, namespace, method="Note", every_s=0.02, deadline_s=2, target="",
                 native_only=False):
        self._native_only = native_only
        self.deadline_s = deadline_s
        self._namespace, self._method, self._target = namespace, method, target
        self._every_s = every_s
        self._dispatch = client.channel.unary_unary(
            "/collector.CollectiveDispatcher/Dispatch",
            request_serializer=dp.DispatchRequest.SerializeToString,
            response_deserializer=dp.DispatchResponse.FromString)
        self._native = client.channel.unary_unary(
            "/%s/%s" % (SERVICE, method),
            request_serializer=wrappers_pb2.StringValue.SerializeToString,
            response_deserializer=wrappers_pb2.StringValue.FromString)
        self.calls = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_error):
        self.stop()

    def stop(self):
        """No new calls; wait for those under way."""
        self._stopped.set()
        self._thread.join()
        eventually(lambda: all(c.ended for c in list(self.calls)), "every call has ended")

    def _run(self):
        native = True
        while not self._stopped.wait(self._every_s):
            self._start(native)
            native = self._native_only or not native

    def _start(self, native):
        Traffic._count += 1
        call = Call("%s-%d" % (self._method, Traffic._count), native)
        self.calls.append(call)
        if native:
            metadata = [("collector-namespace", self._namespace)]
            if self._target:
                metadata.append(("collector-target", self._target))
            future = self._native.future(text(call.id), timeout=self.deadline_s,
                                         metadata=metadata)
        else:
            future = self._dispatch.future(dp.DispatchRequest(
                namespace=self._namespace, method_name=self._method,
                service=common_pb2.ServiceTypeRef(service_name=SERVICE),
                input=protos.pack(text(call.id)), target_collector_id=self._target),
                timeout=self.deadline_s)
        future.add_done_callback(lambda f: self._ended(call, f))

    @staticmethod
    def _ended(call, future):
        code = future.code()
        call.why = future.details() or ""
        if code == grpc.StatusCode.OK:
            answer = future.result()
            if call.native:
                call.by = answer.value
            else:
                call.by = answer.handled_by_collector_id
                code = CODES[answer.status.code]
                call.why = answer.status.message
        call.code = code
        call.ended = time.monotonic()

    def goes_on(self, what, streak=20, timeout_s=60):
        """Wait until so many calls that start from now on succeed one after the other."""
        since = time.monotonic()

        def good():
            count = 0
            for call in list(self.calls):
                if not call.ended:
                    break
                count = count + 1 if call.ok and call.started >= since else 0
            return count >= streak

        eventually(good, "%s: calls succeed (last: %s)" % (what, self.calls[-1:]), timeout_s)

    def outage(self, since):
        """For how many seconds from then on calls were started that failed."""
        return max([0.0] + [c.started - since for c in self.failed() if c.started > since])

    def failed(self):
        return [c for c in self.calls if c.ended and not c.ok]

    def late(self, slack_s):
        """Those that ended later than they had to."""
        return [c for c in self.calls
                if (c.ended or time.monotonic()) - c.started > self.deadline_s + slack_s]
