import type { SpanExporter } from '@opentelemetry/sdk-trace';

import type { OtlpProtocol } from './otel-env.ts';

/**
 * Loads only the exporter for `protocol`, so that gRPC is not loaded unless it is used. OpenTelemetry's exporters read
 * endpoint, headers, TLS, timeout and compression from the `OTEL_EXPORTER_OTLP_*` variables themselves.
 */
export async function otlpExporterFactory(protocol: OtlpProtocol): Promise<() => SpanExporter> {
  switch (protocol) {
    case 'grpc': {
      const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-grpc');
      return () => new OTLPTraceExporter();
    }
    case 'http/protobuf': {
      const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-proto');
      return () => new OTLPTraceExporter();
    }
    case 'http/json': {
      const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-http');
      return () => new OTLPTraceExporter();
    }
  }
}
