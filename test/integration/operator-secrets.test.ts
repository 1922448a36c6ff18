import { afterAll, beforeAll, expect, it } from 'vitest';

import { runMc } from '../../deploy/local/minio.ts';
import { until } from '../support/until.ts';
import { uniqueName } from '../support/unique-name.ts';
import { type RunningOperator, startOperator } from './operator.ts';
import {
  conditionOf,
  everySecondSpec,
  expectCleanShutdown,
  createCanaryUser,
  createProbeNamespace,
  type Probe,
  type ProbeNamespace,
  runCount,
  untilMoreRuns,
} from './probes.ts';
import { sharedStore, targetOf } from './store.ts';

/** The operator rereads a Secret within this time. */
const LOOKUP_MS = 20_000;

let namespace: ProbeNamespace;
let operator: RunningOperator;

beforeAll(async () => {
  namespace = await createProbeNamespace('secrets');
  operator = await startOperator({ namespaces: [namespace.name] });
});

afterAll(() => expectCleanShutdown(namespace, operator));

it('uses a rotated Secret in the next run', async () => {
  const name = uniqueName('rotated');
  const [before, after] = [await createCanaryUser(), await createCanaryUser()];
  await namespace.putSecret(name, { ...before });
  await namespace.apply(name, specOf(name));
  await untilMoreRuns(operator, name, 2, 'verdict="Passed"');
  await namespace.putSecret(name, { ...after });
  // The first run may have started before the rotation. The second starts after it.
  await untilMoreRuns(operator, name, 2);
  await runMc(sharedStore, ['admin', 'user', 'disable', 'local', before.accessKey]);
  await untilMoreRuns(operator, name, 3);
  expect(await runCount(operator, name, 'verdict="Passed"')).toBe(await runCount(operator, name));

  // The old keys no longer work.
  await namespace.putSecret(name, { ...before });
  await namespace.until('to fail', name, hasCondition('Healthy', 'False', 'InvalidAccessKey'));
});

it('reports a missing Secret once, and uses it once it is created', async () => {
  const name = uniqueName('missing');
  await namespace.apply(name, specOf(name));
  const { status } = await namespace.until(
    'to report it',
    name,
    hasCondition('Ready', 'False', 'SecretMissing'),
  );
  expect(conditionOf(status, 'Ready')?.message).toBe(`Secret ${namespace.name}/${name} does not exist`);
  expect(conditionOf(status, 'Healthy')).toMatchObject({ status: 'Unknown', reason: 'SecretMissing' });
  const before = await failedReads();
  await until('two more reads of the Secret', LOOKUP_MS, async () => (await failedReads()) >= before + 2);
  expect(await warningsOf(name)).toEqual([{ reason: 'SecretMissing', times: 1 }]);
  expect(await runCount(operator, name)).toBe(0);
  expect(await nextRunOf(name)).toBeUndefined();

  await namespace.putSecret(name, { ...(await createCanaryUser()) });
  await namespace.until('to be Healthy', name, hasCondition('Healthy', 'True', 'Passed'), LOOKUP_MS);
  const ready = await namespace.until('to be Ready', name, hasCondition('Ready', 'True', 'Scheduled'));
  expect(conditionOf(ready.status, 'Ready')?.message).toBe('Runs start on schedule.');
  expect(await warningsOf(name)).toEqual([{ reason: 'SecretMissing', times: 1 }]);
});

it('stops runs when a Secret is deleted, and resumes them when it is recreated', async () => {
  const name = uniqueName('deleted');
  const keys = { ...(await createCanaryUser()) };
  await namespace.putSecret(name, keys);
  await namespace.apply(name, specOf(name));
  await namespace.untilHealthy(name);
  expect(await nextRunOf(name)).toBeGreaterThan(Date.now() / 1_000 - 5);
  await namespace.deleteSecret(name);
  const { status } = await namespace.until(
    'to report it',
    name,
    hasCondition('Ready', 'False', 'SecretMissing'),
  );
  expect(conditionOf(status, 'Healthy')).toMatchObject({ status: 'Unknown', reason: 'SecretMissing' });
  expect(await nextRunOf(name)).toBeUndefined();
  await namespace.putSecret(name, keys);
  await namespace.until('to be Healthy', name, hasCondition('Healthy', 'True', 'Passed'), LOOKUP_MS);
  expect(await warningsOf(name)).toEqual([{ reason: 'SecretMissing', times: 1 }]);
  expect(await runCount(operator, name, 'verdict="Passed"')).toBe(await runCount(operator, name));
});

it.each([
  { problem: 'lacks a key', keys: { accessKey: 'a' }, message: 'has accessKey but no secret key' },
  {
    problem: 'contains an invalid key',
    keys: { accessKey: 'a b', secretKey: 'c' },
    message: 'must be printable ASCII without spaces',
  },
])('reports a Secret that $problem, and notices when it is fixed', async ({ keys, message }) => {
  const name = uniqueName('invalid');
  await namespace.putSecret(name, keys);
  await namespace.apply(name, specOf(name));
  const { status } = await namespace.until(
    'to report it',
    name,
    hasCondition('Ready', 'False', 'SecretInvalid'),
  );
  expect(conditionOf(status, 'Ready')?.message).toContain(message);
  await namespace.putSecret(name, { ...(await createCanaryUser()) });
  await namespace.until('to be Healthy', name, hasCondition('Healthy', 'True', 'Passed'), LOOKUP_MS);
});

/** Spec of a probe that uses the Secret with its own name. */
function specOf(name: string): object {
  const target = { ...targetOf(name, sharedStore.url), credentialsSecretRef: { name } };
  return everySecondSpec(name, '', { targets: [target], failureThreshold: 1 });
}

function hasCondition(type: 'Ready' | 'Healthy', status: string, reason: string): (probe: Probe) => boolean {
  return (probe) => {
    const condition = conditionOf(probe.status, type);
    return condition?.status === status && condition.reason === reason;
  };
}

/** Next due time, in seconds since the epoch. */
async function nextRunOf(probe: string): Promise<number | undefined> {
  const samples = await operator.samples('storage_probe_next_run_timestamp_seconds{', probe);
  return [...samples.values()][0];
}

/** Number of the operator's requests that returned 404. */
async function failedReads(): Promise<number> {
  const samples = await operator.samples('rest_client_requests_total{', 'code="404"');
  return [...samples.values()].reduce((sum, value) => sum + value, 0);
}

async function warningsOf(probe: string): Promise<{ reason: string; times: number }[]> {
  const warnings = (await namespace.events(probe)).filter(({ type }) => type === 'Warning');
  return warnings.map(({ reason, series }) => ({ reason, times: series?.count ?? 1 }));
}
