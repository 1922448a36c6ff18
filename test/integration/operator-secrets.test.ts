import { afterAll, beforeAll, expect, it } from 'vitest';

import { runMc } from '../../deploy/local/minio.ts';
import { until } from '../support/until.ts';
import { uniqueName } from '../support/unique-name.ts';
import { type RunningOperator, startOperator } from './operator.ts';
import {
  conditionOf,
  everySecond,
  expectGoodEnd,
  makeCanaryUser,
  makeProbeNamespace,
  type Probe,
  type ProbeNamespace,
  runsOf,
  untilRuns,
} from './probes.ts';
import { sharedStore, targetOf } from './store.ts';

/** The operator looks for a Secret at least so often. */
const LOOKUP_MS = 20_000;

let namespace: ProbeNamespace;
let operator: RunningOperator;

beforeAll(async () => {
  namespace = await makeProbeNamespace('secrets');
  operator = await startOperator({ namespaces: [namespace.name] });
});

afterAll(() => expectGoodEnd(namespace, operator));

it('a rotated Secret is used by the next run', async () => {
  const name = uniqueName('rotated');
  const [before, after] = [await makeCanaryUser(), await makeCanaryUser()];
  await namespace.putSecret(name, { ...before });
  await namespace.apply(name, specOf(name));
  await untilRuns(operator, name, 2, 'verdict="Passed"');
  await namespace.putSecret(name, { ...after });
  // The second one from now on starts after the change for sure.
  await untilRuns(operator, name, 2);
  await runMc(sharedStore, ['admin', 'user', 'disable', 'local', before.accessKey]);
  await untilRuns(operator, name, 3);
  expect(await runsOf(operator, name, 'verdict="Passed"')).toBe(await runsOf(operator, name));

  // The old keys are worth nothing any more.
  await namespace.putSecret(name, { ...before });
  await namespace.until('to fail', name, isBecause('Healthy', 'False', 'InvalidAccessKey'));
});

it('a Secret that is missing is told of once, and found by itself', async () => {
  const name = uniqueName('missing');
  await namespace.apply(name, specOf(name));
  const { status } = await namespace.until('to miss it', name, isBecause('Ready', 'False', 'SecretMissing'));
  expect(conditionOf(status, 'Ready')?.message).toBe(`Secret ${namespace.name}/${name} is not there`);
  expect(conditionOf(status, 'Healthy')).toMatchObject({ status: 'Unknown', reason: 'SecretMissing' });
  const looked = await lookups();
  await until('it to be looked for again', LOOKUP_MS, async () => (await lookups()) >= looked + 2);
  expect(await warningsOf(name)).toEqual([{ reason: 'SecretMissing', times: 1 }]);
  expect(await runsOf(operator, name)).toBe(0);
  expect(await nextRunOf(name)).toBeUndefined();

  await namespace.putSecret(name, { ...(await makeCanaryUser()) });
  await namespace.until('to be Healthy', name, isBecause('Healthy', 'True', 'Passed'), LOOKUP_MS);
  const ready = await namespace.until('to be Ready', name, isBecause('Ready', 'True', 'Scheduled'));
  expect(conditionOf(ready.status, 'Ready')?.message).toBe('Runs start on schedule.');
  expect(await warningsOf(name)).toEqual([{ reason: 'SecretMissing', times: 1 }]);
});

it('a Secret that is deleted ends the runs until it is back', async () => {
  const name = uniqueName('deleted');
  const keys = { ...(await makeCanaryUser()) };
  await namespace.putSecret(name, keys);
  await namespace.apply(name, specOf(name));
  await namespace.untilHealthy(name);
  expect(await nextRunOf(name)).toBeGreaterThan(Date.now() / 1_000 - 5);
  await namespace.deleteSecret(name);
  const { status } = await namespace.until('to miss it', name, isBecause('Ready', 'False', 'SecretMissing'));
  expect(conditionOf(status, 'Healthy')).toMatchObject({ status: 'Unknown', reason: 'SecretMissing' });
  expect(await nextRunOf(name)).toBeUndefined();
  await namespace.putSecret(name, keys);
  await namespace.until('to be Healthy', name, isBecause('Healthy', 'True', 'Passed'), LOOKUP_MS);
  expect(await warningsOf(name)).toEqual([{ reason: 'SecretMissing', times: 1 }]);
  expect(await runsOf(operator, name, 'verdict="Passed"')).toBe(await runsOf(operator, name));
});

it.each([
  { what: 'lacks a key', keys: { accessKey: 'a' }, because: 'has no secretKey' },
  {
    what: 'holds what no key can be',
    keys: { accessKey: 'a b', secretKey: 'c' },
    because: 'holds spaces or characters that no key has; accepted: printable ASCII',
  },
])('a Secret that $what is told of, and its change is seen', async ({ keys, because }) => {
  const name = uniqueName('invalid');
  await namespace.putSecret(name, keys);
  await namespace.apply(name, specOf(name));
  const { status } = await namespace.until('to tell', name, isBecause('Ready', 'False', 'SecretInvalid'));
  expect(conditionOf(status, 'Ready')?.message).toContain(because);
  await namespace.putSecret(name, { ...(await makeCanaryUser()) });
  await namespace.until('to be Healthy', name, isBecause('Healthy', 'True', 'Passed'), LOOKUP_MS);
});

/** With a Secret of the same name. */
function specOf(name: string): object {
  const target = { ...targetOf(name, sharedStore.url), credentialsSecretRef: { name } };
  return everySecond(name, '', { targets: [target], failureThreshold: 1 });
}

function isBecause(type: 'Ready' | 'Healthy', status: string, reason: string): (probe: Probe) => boolean {
  return (probe) => {
    const condition = conditionOf(probe.status, type);
    return condition?.status === status && condition.reason === reason;
  };
}

/** When the next run is due, in seconds since the epoch. */
async function nextRunOf(probe: string): Promise<number | undefined> {
  const samples = await operator.samples('storage_probe_next_run_timestamp_seconds{', probe);
  return [...samples.values()][0];
}

/** How often the operator asked for something that was not there. */
async function lookups(): Promise<number> {
  const samples = await operator.samples('rest_client_requests_total{', 'code="404"');
  return [...samples.values()].reduce((sum, value) => sum + value, 0);
}

async function warningsOf(probe: string): Promise<{ reason: string; times: number }[]> {
  const warnings = (await namespace.events(probe)).filter(({ type }) => type === 'Warning');
  return warnings.map(({ reason, series }) => ({ reason, times: series?.count ?? 1 }));
}
