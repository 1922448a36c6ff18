import {
  type Attributes,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
  type Tracer,
} from '@opentelemetry/api';

import { toMicroseconds } from '../api/microseconds.ts';
import type { Reason } from '../api/reasons.ts';
import type { CallResult, ConnectionAttempt, Phases, RunRequest, RunResult } from '../api/run.ts';
import { hostOf, portOf } from '../s3/url.ts';
import * as attributes from '../telemetry/attributes.ts';

export function rootAttributes({ probe, target, runId, bucket, objectSizesBytes }: RunRequest): Attributes {
  return {
    [attributes.ATTR_PROBE_NAMESPACE]: probe.namespace,
    [attributes.ATTR_PROBE_NAME]: probe.name,
    [attributes.ATTR_TARGET]: target.name,
    [attributes.ATTR_RUN_ID]: runId,
    [attributes.ATTR_BUCKET_MODE]: bucket.mode,
    [attributes.ATTR_OBJECT_SIZES]: [...objectSizesBytes],
  };
}

export function verdictAttributes({ verdict, failedStep }: RunResult): Attributes {
  return {
    [attributes.ATTR_VERDICT]: verdict,
    ...(failedStep !== undefined && { [attributes.ATTR_FAILED_STEP]: failedStep }),
  };
}

/** Starts a span whose name and attributes {@link describeCall} sets when the call has finished. */
export function startCallSpan(tracer: Tracer, step: Span, startTime: number): Span {
  return tracer.startSpan('S3', { kind: SpanKind.CLIENT, startTime }, trace.setSpan(ROOT_CONTEXT, step));
}

export interface DescribedCall {
  readonly endpoint: URL;
  readonly bucket: string;
  readonly key: string | undefined;
  readonly call: CallResult;
}

export function describeCall(span: Span, { endpoint, bucket, key, call }: DescribedCall): void {
  const callAttributes: Attributes = {
    [attributes.ATTR_RPC_SYSTEM_NAME]: 'aws-api',
    [attributes.ATTR_RPC_METHOD]: `S3/${call.operation}`,
    [attributes.ATTR_AWS_S3_BUCKET]: bucket,
    [attributes.ATTR_SERVER_ADDRESS]: hostOf(endpoint),
    [attributes.ATTR_SERVER_PORT]: portOf(endpoint),
    [attributes.ATTR_HTTP_REQUEST_METHOD]: methodOf(call.operation),
    [attributes.ATTR_NETWORK_PROTOCOL_VERSION]: '1.1',
    [attributes.ATTR_USER_AGENT_SYNTHETIC_TYPE]: attributes.USER_AGENT_SYNTHETIC_TYPE_VALUE_TEST,
    [attributes.ATTR_CONNECTION_REUSED]: call.reusedConnection,
  };
  setIfDefined(callAttributes, attributes.ATTR_AWS_S3_KEY, key);
  setIfDefined(callAttributes, attributes.ATTR_AWS_REQUEST_ID, call.requestId);
  setIfDefined(callAttributes, attributes.ATTR_AWS_EXTENDED_REQUEST_ID, call.hostId);
  setIfDefined(callAttributes, attributes.ATTR_HTTP_RESPONSE_STATUS_CODE, call.status);
  setIfDefined(
    callAttributes,
    attributes.ATTR_HTTP_RESPONSE_HEADER('server'),
    call.server === undefined ? undefined : [call.server],
  );
  setIfDefined(callAttributes, attributes.ATTR_HTTP_REQUEST_BODY_SIZE, call.bytesSent || undefined);
  setIfDefined(callAttributes, attributes.ATTR_HTTP_RESPONSE_BODY_SIZE, call.bytesReceived || undefined);
  setIfDefined(callAttributes, attributes.ATTR_NETWORK_PEER_ADDRESS, call.remoteAddress);
  setIfDefined(callAttributes, attributes.ATTR_NETWORK_PEER_PORT, call.remotePort);
  setIfDefined(callAttributes, attributes.ATTR_CONNECTION_PROXY, call.proxy);
  setIfDefined(callAttributes, attributes.ATTR_CONNECTION_ATTEMPTS, call.attempts?.map(attemptText));
  if (call.tlsProtocol !== undefined) Object.assign(callAttributes, tlsProtocolAttributes(call.tlsProtocol));
  setIfDefined(callAttributes, attributes.ATTR_TLS_SERVER_NOT_AFTER, call.certificateNotAfter);
  for (const [phase, durationMs] of Object.entries(call.phases)) {
    callAttributes[PHASE_KEYS[phase as keyof Phases]] = toMicroseconds(durationMs);
  }
  span.updateName(`S3.${call.operation}`);
  span.setAttributes(callAttributes);
}

function attemptText({ address, outcome, durationMs }: ConnectionAttempt): string {
  return `${address} ${outcome} ${durationMs.toFixed(1)} ms`;
}

/** @param protocol as in OpenSSL: `TLSv1.3`. The attributes hold its name and number separately. */
function tlsProtocolAttributes(protocol: string): Attributes {
  const [name = '', version = ''] = protocol.split('v');
  return {
    [attributes.ATTR_TLS_PROTOCOL_NAME]: name.toLowerCase(),
    [attributes.ATTR_TLS_PROTOCOL_VERSION]: version,
  };
}

/** HTTP method of an S3 operation, which starts with a verb. Source: Amazon S3 API Reference, "Actions". */
function methodOf(operation: string): string {
  if (operation.startsWith('Head')) return 'HEAD';
  if (/^(?:Get|List)/.test(operation)) return 'GET';
  if (/^(?:Create|Put|Upload)/.test(operation)) return 'PUT';
  // DeleteObjects sends a list.
  return /^(?:Abort|Delete(?!Objects))/.test(operation) ? 'DELETE' : 'POST';
}

const PHASE_KEYS: Readonly<Record<keyof Phases, string>> = {
  waitMs: `${attributes.ATTR_PHASE_PREFIX}wait_ms`,
  dnsMs: `${attributes.ATTR_PHASE_PREFIX}dns_ms`,
  connectMs: `${attributes.ATTR_PHASE_PREFIX}connect_ms`,
  proxyMs: `${attributes.ATTR_PHASE_PREFIX}proxy_ms`,
  tlsMs: `${attributes.ATTR_PHASE_PREFIX}tls_ms`,
  sendMs: `${attributes.ATTR_PHASE_PREFIX}send_ms`,
  firstByteMs: `${attributes.ATTR_PHASE_PREFIX}first_byte_ms`,
  bodyMs: `${attributes.ATTR_PHASE_PREFIX}body_ms`,
};

function setIfDefined(target: Attributes, key: string, value: Attributes[string]): void {
  if (value !== undefined) target[key] = value;
}

/** Ends the span of a run, step or call. A result with a reason sets the span's status to error. */
export function endSpan(
  span: Span,
  result: { reason?: Reason; message?: string } | undefined,
  endTime: number,
): void {
  if (result?.reason !== undefined) {
    span.setAttribute(attributes.ATTR_REASON, result.reason);
    span.setAttribute(attributes.ATTR_ERROR_TYPE, result.reason);
    span.setStatus({
      code: SpanStatusCode.ERROR,
      ...(result.message !== undefined && { message: result.message }),
    });
  }
  span.end(endTime);
}

/** Formats the span's context. Source: W3C Trace Context, "traceparent Header". */
export function traceparent(span: Span): string {
  const { traceId, spanId, traceFlags } = span.spanContext();
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
}
