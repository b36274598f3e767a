"""Sends spans with the OpenTelemetry SDK as it comes: `send.py grpc|http SPANS`.

Where to, and how, is said by the SDK's own environment variables. The sender claims to be somebody
else wherever an attribute may stand. Prints how many spans the receiver took.
"""

import sys

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanContext, SpanKind

if sys.argv[1] == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
else:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

SPOOF = {"tower_otlp.forwarded.for": "root"}


class Counting(SpanExporter):
    """The exporter, and how many spans it got rid of."""

    def __init__(self):
        self.exporter = OTLPSpanExporter()
        self.taken = 0

    def export(self, spans):
        result = self.exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.taken += len(spans)
        return result

    def shutdown(self):
        self.exporter.shutdown()


def main():
    exporter = Counting()
    # The name of the service is from the environment, too.
    provider = TracerProvider(resource=Resource.create(SPOOF))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("send", "1.0", attributes=SPOOF)
    other = SpanContext(trace_id=0xABCDEF, span_id=0xFEDCBA, is_remote=True)
    for number in range(int(sys.argv[2])):
        links = [Link(other, {"why": "batch", **SPOOF})]
        attributes = {"text": "grüße 漢字 🦀", "number": number, **SPOOF}
        with tracer.start_as_current_span(
            f"span {number}", kind=SpanKind.CLIENT, attributes=attributes, links=links
        ) as span:
            span.add_event("größer", {"hits": 3, **SPOOF})
    provider.force_flush()
    provider.shutdown()
    print(exporter.taken)


main()
