import type { ReadableSpan } from '@opentelemetry/sdk-trace';

import type { OtlpSettings } from './otlp-settings.ts';

/** How the receiver answered one attempt to deliver a batch. */
export type Delivery =
  | {
      readonly outcome: 'accepted';
      /** Number of spans that the receiver accepted the request without. */
      readonly rejectedSpans: number;
      /** Why spans were rejected, or a warning if none were. */
      readonly message?: string;
    }
  | {
      readonly outcome: 'failed';
      readonly message: string;
      /** True if the same batch may be accepted later. */
      readonly isRetryable: boolean;
      /** How long the receiver asked the sender to wait. */
      readonly retryAfterMs?: number;
    };

/** Sends batches to one receiver. */
export interface OtlpTransport {
  /** Makes one attempt. Never rejects. When `signal` aborts, the attempt is cancelled and its result does not matter. */
  send(spans: ReadableSpan[], signal: AbortSignal): Promise<Delivery>;
  close(): void;
}

/** Loads only the transport for the protocol, so that gRPC is not loaded unless it is used. */
export async function otlpTransportFactory(settings: OtlpSettings): Promise<() => OtlpTransport> {
  if (settings.protocol === 'grpc') {
    const { OtlpGrpcTransport } = await import('./otlp-grpc-transport.ts');
    return () => new OtlpGrpcTransport(settings);
  }
  const { OtlpHttpTransport } = await import('./otlp-http-transport.ts');
  return () => new OtlpHttpTransport(settings);
}
