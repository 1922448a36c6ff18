import { createInterface } from 'node:readline';

/** What sequential runs cost one process, all of its threads included. */
export interface Stretch {
  readonly runs: number;
  /** With the export of every span of these runs. */
  readonly cpuUserMs: number;
  readonly cpuSystemMs: number;
  /** Of the runs alone. */
  readonly wallMs: number;
  /** Exporting what was still queued when the last run ended. */
  readonly flushMs: number;
  readonly peakRssBytes: number;
}

/** The contender's side of the protocol: says that it is ready, then answers each line `run N` with a `Stretch`. */
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

async function measure(runs: number, run: () => Promise<void>, flush: () => Promise<void>): Promise<Stretch> {
  // Others had the cores since the last stretch: one run that does not count brings connection and caches back.
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
