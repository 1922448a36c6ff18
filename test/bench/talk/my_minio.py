"""The program of "Distributed Tracing using OpenTelemetry and Jaeger": one bucket workflow, one span per step."""

import os
from io import BytesIO

from minio import Minio
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

OBJECT_NAME = "object"
OBJECT_BYTES = 4096


def start_tracing(otlp_endpoint: str) -> TracerProvider:
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: "my-minio"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=otlp_endpoint, insecure=True)))
    trace.set_tracer_provider(provider)
    return provider


def run(client: Minio, bucket: str) -> None:
    tracer = trace.get_tracer("my-minio")
    with tracer.start_as_current_span("my-minio"):
        with tracer.start_as_current_span("check if bucket exist") as span:
            span.set_attribute("function.name", "CHECK_BUCKET")
            span.add_event("Checking if bucket exists.")
            if not client.bucket_exists(bucket):
                span.add_event("Bucket does not exist, going to create it.")
                client.make_bucket(bucket)

        with tracer.start_as_current_span("create object to add") as span:
            span.set_attribute("function.name", "CREATE_OBJECT")
            content = os.urandom(OBJECT_BYTES)

        with tracer.start_as_current_span("add created object to bucket") as span:
            span.set_attribute("function.name", "ADD_OBJECT")
            client.put_object(bucket, OBJECT_NAME, BytesIO(content), len(content))
            span.add_event("Test object has been placed in bucket.")

        with tracer.start_as_current_span("fetch object from bucket") as span:
            span.set_attribute("function.name", "FETCH_OBJECT")
            response = client.get_object(bucket, OBJECT_NAME)
            try:
                fetched = response.read()
            finally:
                response.close()
                response.release_conn()
            if fetched != content:
                raise RuntimeError("the fetched object differs from the one sent")
            span.add_event("Test object has been fetched from bucket.")

        with tracer.start_as_current_span("remove object from bucket") as span:
            span.set_attribute("function.name", "REMOVE_OBJECT")
            client.remove_object(bucket, OBJECT_NAME)
            span.add_event("Test object has been removed from bucket.")

        with tracer.start_as_current_span("check if bucket exists") as span:
            span.set_attribute("function.name", "REMOVE_BUCKET")
            if client.bucket_exists(bucket):
                span.add_event("Bucket exists, going to remove it.")
                client.remove_bucket(bucket)
