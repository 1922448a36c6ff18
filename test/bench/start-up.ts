import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

import { spreadOf } from './statistics.ts';

const ROUNDS = 15;
const GOAL_MS = 100;
const bundle = new URL('../../dist/main.mjs', import.meta.url).pathname;

/** Compares how long the bundle's `--help` takes with an empty Node program. Skipped if the bundle is missing. */
export function measureStartUp(): string {
  if (!existsSync(bundle))
    return 'storage-probe --help: SKIPPED because dist/main.mjs is missing; run npm run build first';

  const helpMs: number[] = [];
  const bareMs: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    helpMs.push(wallMs([bundle, '--help']));
    bareMs.push(wallMs(['-e', '0']));
  }
  const help = spreadOf(helpMs);
  const bare = spreadOf(bareMs);
  const outcome = help.median < GOAL_MS ? 'met' : 'missed';
  return (
    `storage-probe --help: ${help.median.toFixed(0)} ms (${help.min.toFixed(0)}–${help.max.toFixed(0)}), ` +
    `goal < ${GOAL_MS} ms, ${outcome}; empty Node program: ${bare.median.toFixed(0)} ms (${bare.min.toFixed(0)}–${bare.max.toFixed(0)})`
  );
}

function wallMs(args: readonly string[]): number {
  const startMs = performance.now();
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  const endMs = performance.now();
  if (status !== 0) throw new Error(`node ${args.join(' ')} exited with ${status}: ${stderr}`);
  return endMs - startMs;
}
