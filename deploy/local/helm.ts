import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';

import { getBinary } from './binary.ts';
import { runCommand } from './command.ts';

const CHARTS = new URL('../../charts/', import.meta.url).pathname;
const TIMEOUT_MS = 30_000;

/** An object rendered from a chart. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

export interface RenderOptions {
  /** Default `demo`. */
  readonly release?: string;
  /** Default `storage`. */
  readonly namespace?: string;
}

/**
 * Renders a chart of this project, including hooks, in Helm's order.
 *
 * @throws Error with Helm's output.
 */
export async function renderChart(
  chart: string,
  values: object = {},
  { release = 'demo', namespace = 'storage' }: RenderOptions = {},
): Promise<Manifest[]> {
  const text = await runHelm(['template', release, chartPath(chart), `--namespace=${namespace}`], values);
  return parseAllDocuments(text).flatMap((document): Manifest[] => {
    if (document.errors[0] !== undefined) throw document.errors[0];
    return document.contents === null ? [] : [document.toJS() as Manifest];
  });
}

/** Returns the output of `helm lint --strict`. @throws Error with Helm's output if the chart has problems. */
export function lintChart(chart: string, values: object = {}): Promise<string> {
  return runHelm(['lint', '--strict', chartPath(chart)], values);
}

export function chartPath(chart: string): string {
  return join(CHARTS, chart);
}

/** Runs Helm with a temporary home directory and returns its stdout. @throws Error with Helm's output if it fails. */
export async function runHelm(args: readonly string[], values?: object): Promise<string> {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'storage-probe-helm-'));
  const file = join(folder.path, 'values.json');
  await writeFile(file, JSON.stringify(values ?? {}));
  const flags = values === undefined ? [] : [`--values=${file}`];
  return await runCommand(await getBinary('helm'), [...args, ...flags], {
    env: { HOME: folder.path },
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
}
