"""A receiver of OTLP over HTTP that knows the messages from the published schema, by the protobuf project's own library.

usage: receiver.py FILE. Its first line of output is its port. Each request that it understands is a line of FILE:
{"path", "headers", "body"}, with identities in hexadecimal. What it does not understand is answered with 400 and is a line, too.
"""

import base64
import gzip
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces

KINDS = {
    "/v1/traces": (traces.ExportTraceServiceRequest, traces.ExportTraceServiceResponse),
    "/v1/metrics": (metrics.ExportMetricsServiceRequest, metrics.ExportMetricsServiceResponse),
    "/v1/logs": (logs.ExportLogsServiceRequest, logs.ExportLogsServiceResponse),
}
LOCK = threading.Lock()
IDS = {"traceId", "spanId", "parentSpanId"}


def with_ids(value, change):
    """OTLP writes identities in hexadecimal where protobuf's JSON has base64."""
    if isinstance(value, list):
        return [with_ids(one, change) for one in value]
    if isinstance(value, dict):
        return {key: change(one) if key in IDS else with_ids(one, change) for key, one in value.items()}
    return value


def to_hex(text):
    return base64.b64decode(text).hex()


def to_base64(text):
    return base64.b64encode(bytes.fromhex(text)).decode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        told = {"path": self.path, "headers": headers}
        try:
            request, response = KINDS[self.path]
            if headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if headers["content-type"] == "application/json":
                # Whatever the schema does not know is an error here.
                message = json_format.ParseDict(with_ids(json.loads(body), to_base64), request())
                answer = json_format.MessageToJson(response()).encode()
            else:
                assert headers["content-type"] == "application/x-protobuf", headers
                message = request.FromString(body)
                unknown = message.SerializeToString(deterministic=True)
                message.DiscardUnknownFields()
                assert unknown == message.SerializeToString(deterministic=True), "fields that the schema does not know"
                answer = response().SerializeToString()
            told["body"] = with_ids(json_format.MessageToDict(message), to_hex)
            status = 200
        except Exception as error:  # noqa: BLE001
            told["error"], answer, status = repr(error), b"", 400
        with LOCK, open(sys.argv[1], "a") as file:
            file.write(json.dumps(told) + "\n")
        self.send_response(status)
        self.send_header("Content-Type", headers["content-type"])
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
