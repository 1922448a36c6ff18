import type { SpanExporter } from '@opentelemetry/sdk-trace';

import type { OtlpProtocol } from './otel-env.ts';

/**
 * Loads the exporter of a protocol; the others, and gRPC with them, stay unloaded. Endpoint, headers, TLS, timeout and
 * compression come from the `OTEL_EXPORTER_OTLP_*` variables, which OpenTelemetry's exporters read themselves.
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
