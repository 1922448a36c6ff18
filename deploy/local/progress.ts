/** Receives one-line progress messages from a long operation. */
export type Progress = (line: string) => void;

/** Time between two progress messages. */
export const PROGRESS_INTERVAL_MS = 10_000;

/** Calls `report` with the elapsed time every {@link PROGRESS_INTERVAL_MS}, until the result is disposed of. */
export function startProgressTimer(report: (elapsed: string) => void): Disposable {
  const startedMs = performance.now();
  const timer = setInterval(() => report(formatElapsed(performance.now() - startedMs)), PROGRESS_INTERVAL_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

export function formatElapsed(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
