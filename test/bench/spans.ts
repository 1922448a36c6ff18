import { setTimeout as sleep } from 'node:timers/promises';

/** The trace that one run of a contender produces. */
export interface TraceShape {
  /** `service.name` of the trace's resource. */
  readonly service: string;
  readonly spansPerRun: number;
}

const ARRIVAL_TIMEOUT_MS = 10_000;

interface JaegerTrace {
  readonly spans: readonly unknown[];
}

/**
 * Waits until Jaeger has one complete trace for each run since `sinceMs`.
 *
 * @param queryUrl `http://host:port` of Jaeger's query API.
 * @throws if the traces do not arrive in time, or have more or fewer spans than expected.
 */
export async function expectTraces(
  queryUrl: string,
  { service, spansPerRun }: TraceShape,
  sinceMs: number,
  runs: number,
): Promise<void> {
  const url = new URL('/api/traces', queryUrl);
  url.search = new URLSearchParams({
    service,
    start: `${sinceMs * 1_000}`,
    end: `${Date.now() * 1_000}`,
    limit: `${runs + 1}`,
  }).toString();

  const deadlineMs = Date.now() + ARRIVAL_TIMEOUT_MS;
  for (;;) {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`Jaeger: ${response.status} ${await response.text()}`);
    const { data }: { data: JaegerTrace[] } = JSON.parse(await response.text());
    if (data.length === runs && data.every((trace) => trace.spans.length === spansPerRun)) return;
    if (Date.now() > deadlineMs) {
      const counts = [...new Set(data.map((trace) => trace.spans.length))].join(', ');
      throw new Error(
        `${service}: expected ${runs} traces of ${spansPerRun} spans in Jaeger, got ${data.length} of ${counts} spans`,
      );
    }
    await sleep(200);
  }
}
