import { inject } from 'vitest';

import { getBinary } from '../../deploy/local/binary.ts';
import { runCommand } from '../../deploy/local/command.ts';
import type { KubeAccess } from '../../deploy/local/control-plane.ts';
import { requestKubeBody } from '../../deploy/local/kube-api.ts';
import { applyManifests, createNamespace } from '../../deploy/local/kube-apply.ts';
import { createMinioUser, type MinioUser } from '../../deploy/local/minio.ts';
import { findTraces } from '../../deploy/local/traces.ts';
import type { Condition, ConditionType } from '../../src/api/conditions.ts';
import type { ProbeStatus, TargetStatus } from '../../src/api/probe-status.ts';
import { API_VERSION, KIND, PLURAL } from '../../src/api/storage-probe.ts';
import { CANARY, expectNoCanary } from '../support/canary.ts';
import { OPENMETRICS } from '../support/exposition.ts';
import { until } from '../support/until.ts';
import { uniqueName } from '../support/unique-name.ts';
import { type RunningOperator } from './operator.ts';
import { sharedStore, targetOf } from './store.ts';

const { jaegerUrl, kube: sharedKube } = inject('servers');
const POLICY = new URL('../../deploy/local/minio/probe-policy.json', import.meta.url).pathname;
const KUBECTL_MS = 30_000;
const JAEGER_MS = 10_000;
/** Several times the usual wait on a busy machine. */
const TIMEOUT_MS = 15_000;

/** A StorageProbe as returned by the API server. */
export interface Probe {
  readonly metadata: { readonly name: string; readonly uid: string; readonly resourceVersion: string };
  readonly spec: { readonly targets: readonly { readonly name: string }[] };
  readonly status?: ProbeStatus;
}

export interface ProbeEvent {
  readonly type: string;
  readonly reason: string;
  readonly action: string;
  readonly note: string;
  readonly regarding: { readonly name: string; readonly uid: string };
  readonly series?: { readonly count: number };
}

/** A namespace for probes. It is never deleted: no controller would finish the deletion. */
export interface ProbeNamespace {
  readonly name: string;
  /** Creates or updates a Secret. */
  putSecret(name: string, keys: Readonly<Record<string, string>>): Promise<void>;
  deleteSecret(name: string): Promise<void>;
  /** Creates or updates a probe. `spec` is its complete spec. */
  apply(name: string, spec: object): Promise<Probe>;
  /** Requests runs with the annotation `storageprobe.dev/run-requested-at`. */
  requestRun(name: string, value: string): Promise<void>;
  get(name: string): Promise<Probe>;
  delete(name: string): Promise<void>;
  /** All Events about a probe, including deleted probes of the same name. */
  events(name: string): Promise<ProbeEvent[]>;
  /** Waits until the probe matches. @param description For the error message, for example "to be Healthy". */
  until(
    description: string,
    name: string,
    matches: (probe: Probe) => boolean,
    timeoutMs?: number,
  ): Promise<Probe>;
  untilHealthy(name: string): Promise<Probe>;
  kubectl(...args: readonly string[]): Promise<string>;
  /** @throws Error if {@link CANARY} can be read outside Secrets. */
  expectNoCanary(operators: readonly RunningOperator[]): Promise<void>;
}

/** @param kube Default: the control plane shared by all tests. */
export async function createProbeNamespace(
  prefix: string,
  kube: KubeAccess & { readonly kubeconfigFile: string } = sharedKube,
): Promise<ProbeNamespace> {
  const name = uniqueName(prefix);
  await createNamespace(kube, name);
  const probes = `/apis/${API_VERSION}/namespaces/${name}/${PLURAL}`;
  const secrets = `/api/v1/namespaces/${name}/secrets`;
  const services = new Set<string>();

  const list = async <T>(path: string): Promise<T[]> =>
    (await requestKubeBody<{ items: T[] }>(kube, { path })).items;
  const allEvents = (): Promise<ProbeEvent[]> => list(`/apis/events.k8s.io/v1/namespaces/${name}/events`);
  const get = (probe: string): Promise<Probe> => requestKubeBody(kube, { path: `${probes}/${probe}` });
  const untilMatch: ProbeNamespace['until'] = async (description, probe, matches, timeoutMs = TIMEOUT_MS) => {
    let last: Probe | undefined;
    try {
      return await until(`${probe} ${description}`, timeoutMs, async () => {
        last = await get(probe);
        return matches(last) && last;
      });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new Error(`${message}; last status: ${JSON.stringify(last?.status)}`, { cause: error });
    }
  };

  async function kubectl(...args: readonly string[]): Promise<string> {
    const program = await getBinary('kubectl');
    const flags = ['--kubeconfig', kube.kubeconfigFile, '--namespace', name];
    return runCommand(program, [...flags, ...args], { signal: AbortSignal.timeout(KUBECTL_MS) });
  }

  /** All texts that can be read without access to Secrets, by source. */
  async function readableTexts(operators: readonly RunningOperator[]): Promise<Record<string, string>> {
    const [metrics, objects, events, traces] = await Promise.all([
      Promise.all(operators.map(async (operator) => (await operator.get('/metrics', OPENMETRICS)).body)),
      list(probes),
      allEvents(),
      Promise.all(Array.from(services, (service) => tracesOf(service))),
    ]);
    return {
      metrics: metrics.join('\n'),
      objects: JSON.stringify(objects),
      events: JSON.stringify(events),
      traces: JSON.stringify(traces),
      output: operators.map((operator) => operator.output()).join('\n'),
    };
  }

  return {
    name,
    async putSecret(secret, stringData) {
      const manifest = { apiVersion: 'v1', kind: 'Secret', metadata: { name: secret }, stringData };
      await applyManifests(kube, JSON.stringify(manifest), { namespace: name });
    },
    async deleteSecret(secret) {
      await requestKubeBody(kube, { method: 'DELETE', path: `${secrets}/${secret}` });
    },
    async apply(probe, spec) {
      const manifest = { apiVersion: API_VERSION, kind: KIND, metadata: { name: probe }, spec };
      await applyManifests(kube, JSON.stringify(manifest), { namespace: name });
      const applied = await get(probe);
      for (const target of applied.spec.targets) services.add(target.name);
      return applied;
    },
    async requestRun(probe, value) {
      await requestKubeBody(kube, {
        method: 'PATCH',
        path: `${probes}/${probe}`,
        contentType: 'application/merge-patch+json',
        body: { metadata: { annotations: { 'storageprobe.dev/run-requested-at': value } } },
      });
    },
    get,
    async delete(probe) {
      await requestKubeBody(kube, { method: 'DELETE', path: `${probes}/${probe}` });
    },
    async events(probe) {
      return (await allEvents()).filter(({ regarding }) => regarding.name === probe);
    },
    until: untilMatch,
    untilHealthy: (probe) =>
      untilMatch('to be Healthy', probe, ({ status }) => conditionOf(status, 'Healthy')?.status === 'True'),
    kubectl,
    async expectNoCanary(operators) {
      const texts = await readableTexts(operators);
      for (const [source, text] of Object.entries(texts)) {
        if (!text.includes(name)) throw new Error(`found no text from the tests in the ${source}`);
      }
      expectNoCanary(texts);

      await kubectl('annotate', 'sprobe', '--all', `planted=${CANARY}`);
      const planted = await readableTexts(operators);
      let isFound = false;
      try {
        expectNoCanary(planted);
      } catch {
        isFound = true;
      }
      if (!isFound) throw new Error('the search missed a planted canary');
    },
  };
}

/** Final check: no leaked secret, no logged error, no dropped Event and exit code 0. */
export async function expectCleanShutdown(
  namespace: ProbeNamespace,
  operator: RunningOperator,
): Promise<void> {
  await using _ = operator;
  await namespace.expectNoCanary([operator]);
  const failures = operator
    .logs()
    .filter(({ level, msg }) => level === 'error' || msg === 'an Event was dropped');
  if (failures.length > 0) throw new Error(`the operator logged failures: ${JSON.stringify(failures)}`);
  const { code, signal } = await operator.stop();
  if (code !== 0) throw new Error(`the operator exited with ${code ?? signal}`);
}

function tracesOf(service: string): Promise<unknown[]> {
  return findTraces(jaegerUrl, service, { signal: AbortSignal.timeout(JAEGER_MS), limit: 200 });
}

/** Creates a user of the shared store with the documented rights and {@link CANARY} as secret key. */
export function createCanaryUser(): Promise<MinioUser> {
  return createMinioUser(sharedStore, POLICY, { secretKey: CANARY });
}

export function conditionOf(status: ProbeStatus | undefined, type: ConditionType): Condition | undefined {
  return status?.conditions?.find((condition) => condition.type === type);
}

export function targetStatusOf(status: ProbeStatus | undefined, target: string): TargetStatus | undefined {
  return status?.targets?.find(({ name }) => name === target);
}

/** A spec with one target and an interval of 1s. Fields in `spec` override it. */
export function everySecondSpec(target: string, endpoint: string, spec: object = {}): object {
  return { schedule: { interval: '1s' }, targets: [targetOf(target, endpoint)], ...spec };
}

/** Number of runs that the operator has counted for a probe. 0 if it has no series for the probe. */
export async function runCount(
  operator: RunningOperator,
  probe: string,
  ...parts: readonly string[]
): Promise<number> {
  const counters = await operator.samples('storage_probe_runs_total{', `probe="${probe}"`, ...parts);
  return [...counters.values()].reduce((sum, value) => sum + value, 0);
}

/** Waits until a probe has `count` more runs. */
export async function untilMoreRuns(
  operator: RunningOperator,
  probe: string,
  count: number,
  ...parts: readonly string[]
): Promise<void> {
  const before = await runCount(operator, probe, ...parts);
  await until(`${count} more runs of ${probe} ${parts.join()}`, TIMEOUT_MS + count * 2_000, async () => {
    return (await runCount(operator, probe, ...parts)) >= before + count;
  });
}
