import {
  Client,
  credentials,
  type ClientUnaryCall,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';

import { protocolOf } from './otlp-receiver.ts';
import { readAccepted } from './otlp-response.ts';
import type { OtlpSettings } from './otlp-settings.ts';
import type { Delivery, OtlpTransport } from './otlp-transport.ts';
import { retryDelayMs } from './retry-info.ts';

/** Source: opentelemetry-proto, trace_service.proto. */
const EXPORT_METHOD = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';
/** Source: OTLP specification, "OTLP/gRPC Response". RESOURCE_EXHAUSTED is retryable only with RetryInfo. */
const RETRYABLE_CODES = new Set([
  status.CANCELLED,
  status.DEADLINE_EXCEEDED,
  status.ABORTED,
  status.OUT_OF_RANGE,
  status.UNAVAILABLE,
  status.DATA_LOSS,
]);
/** Codes that grpc-js returns if the peer does not speak gRPC, but also for other errors. */
const MAYBE_NOT_GRPC_CODES = new Set([status.UNKNOWN, status.INTERNAL, status.UNAVAILABLE]);
/** Source: grpc-js, `CompressionAlgorithms`. */
const GZIP = 2;

/** Sends spans over OTLP/gRPC. */
export class OtlpGrpcTransport implements OtlpTransport {
  readonly #settings: OtlpSettings;
  readonly #client: Client;
  readonly #metadata = new Metadata();

  constructor(settings: OtlpSettings) {
    const { url, tls, headers, gzip } = settings;
    this.#settings = settings;
    this.#client = new Client(
      `${url.hostname}:${url.port || (url.protocol === 'https:' ? 443 : 80)}`,
      url.protocol === 'https:'
        ? credentials.createSsl(tls.ca ?? null, tls.key ?? null, tls.cert ?? null)
        : credentials.createInsecure(),
      gzip ? { 'grpc.default_compression_algorithm': GZIP } : {},
    );
    for (const [key, value] of Object.entries(headers)) this.#metadata.set(key, value);
  }

  async send(spans: ReadableSpan[], signal: AbortSignal): Promise<Delivery> {
    try {
      const body = Buffer.from(ProtobufTraceSerializer.serializeRequest(spans) ?? []);
      const { error, response } = await this.#call(body, signal);
      return error === null
        ? readAccepted(ProtobufTraceSerializer, response ?? Buffer.alloc(0))
        : await this.#explain(error, signal);
    } catch (error) {
      return { outcome: 'failed', message: String(error), isRetryable: false };
    }
  }

  close(): void {
    this.#client.close();
  }

  #call(
    body: Buffer,
    signal: AbortSignal,
  ): Promise<{ error: ServiceError | null; response: Buffer | undefined }> {
    return new Promise((resolve) => {
      const call: ClientUnaryCall = this.#client.makeUnaryRequest(
        EXPORT_METHOD,
        (request: Buffer) => request,
        (response: Buffer) => response,
        body,
        this.#metadata,
        (error, response) => {
          signal.removeEventListener('abort', onAbort);
          resolve({ error, response });
        },
      );
      const onAbort = (): void => {
        call.cancel();
      };
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  async #explain(error: ServiceError, signal: AbortSignal): Promise<Delivery> {
    const { host } = this.#settings.url;
    if (MAYBE_NOT_GRPC_CODES.has(error.code) && (await protocolOf(this.#settings, signal)) === 'http/1') {
      return {
        outcome: 'failed',
        message: `${host} speaks HTTP/1.1, not gRPC; set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or use the port for gRPC, usually 4317`,
        isRetryable: false,
      };
    }
    if (error.code === status.UNIMPLEMENTED) {
      return {
        outcome: 'failed',
        message: `${error.message}: no OTLP/gRPC receiver at ${host}`,
        isRetryable: false,
      };
    }
    const retryAfterMs = error.metadata
      .get('grpc-status-details-bin')
      .map((detail) => retryDelayMs(Buffer.from(detail)))
      .find((delayMs) => delayMs !== undefined);
    return {
      outcome: 'failed',
      message: error.message,
      isRetryable:
        error.code === status.RESOURCE_EXHAUSTED
          ? retryAfterMs !== undefined
          : RETRYABLE_CODES.has(error.code),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    };
  }
}
