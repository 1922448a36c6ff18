/** Takes one line about long work under way. */
export type Progress = (line: string) => void;

/** Longest silence of {@link Progress}. */
export const BEAT_MS = 10_000;

/** Tells every {@link BEAT_MS}, until it is disposed of, how long it has been so. */
export function startBeat(tell: (elapsed: string) => void): Disposable {
  const startedMs = performance.now();
  const beat = setInterval(() => tell(formatElapsed(performance.now() - startedMs)), BEAT_MS);
  return { [Symbol.dispose]: () => clearInterval(beat) };
}

export function formatElapsed(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
