import { z } from 'zod';

import { systemClock } from '../../src/clock/system-clock.ts';

const KeyValue = z.object({ key: z.string(), type: z.string(), value: z.unknown() });

const JaegerSpan = z.object({
  traceID: z.string(),
  spanID: z.string(),
  operationName: z.string(),
  references: z.array(z.object({ refType: z.string(), traceID: z.string(), spanID: z.string() })),
  /** Microseconds since the epoch. */
  startTime: z.number(),
  /** Microseconds. */
  duration: z.number(),
  tags: z.array(KeyValue),
  logs: z.array(z.object({ timestamp: z.number(), fields: z.array(KeyValue) })),
  processID: z.string(),
});
export type JaegerSpan = z.infer<typeof JaegerSpan>;

const JaegerTrace = z.object({
  traceID: z.string(),
  spans: z.array(JaegerSpan),
  processes: z.record(z.string(), z.object({ serviceName: z.string(), tags: z.array(KeyValue).default([]) })),
});
/** A trace in the format of Jaeger's API. */
export type JaegerTrace = z.infer<typeof JaegerTrace>;

const Answer = z.object({ data: z.array(JaegerTrace).nullable() });

export interface WaitForTrace {
  readonly signal: AbortSignal;
  /** Minimum number of spans to wait for. Default 1. */
  readonly spans?: number;
}

const MAX_ANSWER_BYTES = 8 * 1_024 * 1_024;
const FIRST_WAIT_MS = 50;
const LONGEST_WAIT_MS = 250;

/**
 * Polls Jaeger until a trace has at least the given number of spans.
 *
 * @throws the signal's reason if the signal aborts first. Pass a signal with a timeout.
 */
export async function waitForTrace(
  queryUrl: string,
  traceId: string,
  { signal, spans = 1 }: WaitForTrace,
): Promise<JaegerTrace> {
  for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS)) {
    const trace = (await fetchTraces(`${queryUrl}/api/traces/${traceId}`, signal))[0];
    if (trace !== undefined && trace.spans.length >= spans) return trace;
    await systemClock.sleep(waitMs, signal);
  }
}

/** The newest traces of a service. */
export async function findTraces(
  queryUrl: string,
  service: string,
  { signal, limit = 20 }: { readonly signal: AbortSignal; readonly limit?: number },
): Promise<JaegerTrace[]> {
  const query = new URLSearchParams({ service, limit: `${limit}` });
  return fetchTraces(`${queryUrl}/api/traces?${query.toString()}`, signal);
}

async function fetchTraces(url: string, signal: AbortSignal): Promise<JaegerTrace[]> {
  const response = await fetch(url, { signal });
  const body = await readBounded(response);
  if (response.status === 404) return [];
  if (!response.ok) throw new Error(`Jaeger returned ${response.status} for ${url}: ${body.slice(0, 200)}`);
  return Answer.parse(JSON.parse(body)).data ?? [];
}

async function readBounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of response.body ?? []) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > MAX_ANSWER_BYTES)
      throw new Error(`Jaeger's response is larger than ${MAX_ANSWER_BYTES} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
