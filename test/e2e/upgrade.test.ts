import { copyFile, mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';

import { runCommand } from '../../deploy/local/command.ts';
import { IMAGE } from '../../deploy/kind/release.ts';
import { duplicateRuns, missedRuns } from '../support/run-times.ts';
import { uniqueName } from '../support/unique-name.ts';
import { until } from '../support/until.ts';
import {
  get,
  installOperator,
  load,
  createProbeNamespace,
  operatorPods,
  runTimes,
  samplesOf,
} from './cluster.ts';
import { OPERATOR } from './releases.ts';

const ROOT = join(import.meta.dirname, '../..');
const CHART = 'charts/storage-probe';
const FIRST_TAG = 'first';
const TEST_MS = 600_000;
/** More than twice as long as a hand-over, so that a run that falls due during a hand-over is late but not skipped. */
const INTERVAL_MS = 4_000;
const TIMEOUT_MS = 60_000;
const POLL_MS = 250;
const PROBES = 6;

it(
  'an upgrade from the first chart and image neither duplicates nor misses a run',
  { timeout: TEST_MS },
  async (context) => {
    const first = await firstChartCommit();
    if (first === undefined) return context.skip('needs the full Git history, but this clone is shallow');
    await using folder = await mkdtempDisposable(join(tmpdir(), 'storage-probe-first-'));
    await checkOut(first, folder.path);
    await buildFirstImage(folder.path);

    await using namespace = await createProbeNamespace('upgrade');
    const values = { watchNamespaces: [namespace.name] };
    const firstValues = { ...values, image: { tag: FIRST_TAG } };
    await using _ = await installOperator(firstValues, join(folder.path, CHART));
    const probes = Array.from({ length: PROBES }, () => uniqueName('upgrade'));
    const fromMs = Date.now();
    for (const probe of probes) await namespace.applyProbe(probe, `${INTERVAL_MS}ms`);
    await untilFiveRunsSince(fromMs);
    expect(await imageOfOperator()).toBe(`${IMAGE}:${FIRST_TAG}`);

    await installOperator(values);
    expect(await imageOfOperator()).not.toBe(`${IMAGE}:${FIRST_TAG}`);
    await untilFiveRunsSince(Date.now());
    const runs = await runTimes(probes);
    expect(duplicateRuns(runs, INTERVAL_MS)).toEqual([]);
    // Each probe's first run started immediately, not on schedule.
    const onSchedule = new Map([...runs].map(([probe, ofProbe]) => [probe, ofProbe.slice(1)]));
    expect(missedRuns(onSchedule, INTERVAL_MS)).toEqual([]);
    const [pod = ''] = await operatorPods();
    expect([...(await samplesOf(pod, 'storage_probe_runs_missed_total')).values()]).toEqual([0]);
    for (const probe of probes) await namespace.untilHealthy(probe);

    /** Waits until each probe has run five times since `sinceMs`. */
    async function untilFiveRunsSince(sinceMs: number): Promise<void> {
      await until(
        '5 runs of each probe',
        TIMEOUT_MS,
        async () => {
          const all = [...(await runTimes(probes)).values()];
          return all.every((ofProbe) => ofProbe.filter(({ startMs }) => startMs > sinceMs).length >= 5);
        },
        POLL_MS,
      );
    }
  },
);

/** The commit that added the chart, or undefined in a shallow clone. */
async function firstChartCommit(): Promise<string | undefined> {
  if ((await git('rev-parse', '--is-shallow-repository')).trim() === 'true') return undefined;
  return (await git('log', '--diff-filter=A', '--format=%H', '--', `${CHART}/Chart.yaml`)).trim();
}

async function checkOut(commit: string, folder: string): Promise<void> {
  const archive = join(folder, 'archive.tar');
  await git('archive', `--output=${archive}`, commit);
  await runCommand('tar', ['--extract', `--file=${archive}`, `--directory=${folder}`], {
    signal: deadline(),
  });
}

/** Uses the current Dockerfile, because the commit that added the chart had none. */
async function buildFirstImage(folder: string): Promise<void> {
  for (const file of ['Dockerfile', '.dockerignore']) await copyFile(join(ROOT, file), join(folder, file));
  const image = `${IMAGE}:${FIRST_TAG}`;
  await runCommand('docker', ['build', `--tag=${image}`, folder], { signal: deadline() });
  await load(image);
}

async function imageOfOperator(): Promise<string | undefined> {
  const deployment = await get<{
    readonly spec: {
      readonly template: { readonly spec: { readonly containers: readonly { image: string }[] } };
    };
  }>('deployment', OPERATOR, `--namespace=${OPERATOR}`);
  return deployment.spec.template.spec.containers[0]?.image;
}

function git(...args: readonly string[]): Promise<string> {
  return runCommand('git', args, { signal: deadline(), cwd: ROOT });
}

function deadline(): AbortSignal {
  return AbortSignal.timeout(TEST_MS);
}
