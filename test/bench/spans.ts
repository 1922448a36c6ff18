import { setTimeout as sleep } from 'node:timers/promises';

/** What one run of a contender leaves in the trace backend. */
export interface TraceShape {
  /** `service.name` of its resource. */
  readonly service: string;
  readonly spansPerRun: number;
}

const ARRIVAL_TIMEOUT_MS = 10_000;

interface JaegerTrace {
  readonly spans: readonly unknown[];
}

/**
 * Waits until Jaeger holds one whole trace for each run since `sinceMs`.
 *
 * @param queryUrl `http://host:port` of its query API.
 * @throws when they do not come, or have more or fewer spans than the run should make.
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
        `${service}: ${runs} traces of ${spansPerRun} spans should be in Jaeger; there are ${data.length}, of ${counts} spans`,
      );
    }
    await sleep(200);
  }
}
