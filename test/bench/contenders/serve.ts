import { createInterface } from 'node:readline';

/** Cost of a sequence of runs in one process, including all of its threads. */
export interface Measurement {
  readonly runs: number;
  /** Includes the export of all spans of these runs. */
  readonly cpuUserMs: number;
  readonly cpuSystemMs: number;
  /** Excludes the final flush. */
  readonly wallMs: number;
  /** Time to export the spans that were still queued after the last run. */
  readonly flushMs: number;
  readonly peakRssBytes: number;
}

/** The contender's side of the protocol. Reports ready after warm-up, then answers `run N` with a `Measurement`. */
export async function serve(
  warmUpRuns: number,
  run: () => Promise<void>,
  flush: () => Promise<void> = async () => {},
): Promise<void> {
  for (let i = 0; i < warmUpRuns; i++) await run();
  await flush();
  answer({ ready: true });
  for await (const line of createInterface(process.stdin)) {
    answer(await measure(Number(line.replace('run ', '')), run, flush));
  }
}

async function measure(
  runs: number,
  run: () => Promise<void>,
  flush: () => Promise<void>,
): Promise<Measurement> {
  // Other contenders ran since the last measurement. One unmeasured run restores the connection and warms the caches.
  await run();
  await flush();

  const cpuBefore = process.cpuUsage();
  const startMs = performance.now();
  for (let i = 0; i < runs; i++) await run();
  const endMs = performance.now();
  await flush();
  const flushedMs = performance.now();
  const cpu = process.cpuUsage(cpuBefore);

  return {
    runs,
    cpuUserMs: cpu.user / 1_000,
    cpuSystemMs: cpu.system / 1_000,
    wallMs: endMs - startMs,
    flushMs: flushedMs - endMs,
    peakRssBytes: process.resourceUsage().maxRSS * 1_024,
  };
}

function answer(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
