import { diag } from '@opentelemetry/api';
import type { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';

import { oneLine } from '../api/one-line.ts';
import type { Delivery } from './otlp-transport.ts';

/** The serializers for Protobuf and JSON have the same type. */
type Serializer = typeof ProtobufTraceSerializer;

/** Reads the receiver's answer to a request that it accepted, in full or in part. */
export function readAccepted(serializer: Serializer, body: Uint8Array): Delivery {
  const { rejectedSpans, errorMessage } = partialSuccessOf(serializer, body) ?? {};
  // In JSON, a 64-bit number is a string.
  const rejected = Math.trunc(Number(rejectedSpans ?? 0));
  return {
    outcome: 'accepted',
    rejectedSpans: rejected > 0 ? rejected : 0,
    ...(typeof errorMessage === 'string' && errorMessage !== '' && { message: oneLine(errorMessage) }),
  };
}

function partialSuccessOf(
  serializer: Serializer,
  body: Uint8Array,
): { readonly rejectedSpans?: unknown; readonly errorMessage?: unknown } | undefined {
  if (body.length === 0) return undefined;
  try {
    const response = serializer.deserializeResponse(body);
    return response.partialSuccess ?? undefined;
  } catch {
    diag.debug('The receiver accepted the spans, but its response is not valid OTLP.');
    return undefined;
  }
}
