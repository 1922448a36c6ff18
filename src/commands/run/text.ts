import { styleText } from 'node:util';

import type { Output } from '../context.ts';

export type Tone = 'good' | 'bad' | 'unsure' | 'quiet' | 'strong' | 'accent';

/** Colours a text if the output is a terminal with colour support. */
export type Paint = (tone: Tone, text: string) => string;

const FORMATS = {
  good: 'green',
  bad: 'red',
  unsure: 'yellow',
  quiet: 'gray',
  strong: 'bold',
  accent: 'cyan',
} as const satisfies Record<Tone, Parameters<typeof styleText>[0]>;

/** Node handles `NO_COLOR`, `FORCE_COLOR` and the terminal's capabilities. */
export function paintFor(output: Output): Paint {
  return (tone, text) => styleText(FORMATS[tone], text, { stream: output });
}

/** Formats a duration with about three significant digits: `0.42 ms`, `18.3 ms`, `1.24 s`. */
export function formatMs(ms: number): string {
  if (ms >= 1_000) return `${(ms / 1_000).toFixed(2)} s`;
  return `${ms.toFixed(ms < 10 ? 2 : 1)} ms`;
}
