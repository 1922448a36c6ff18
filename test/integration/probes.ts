import { inject } from 'vitest';

import { getBinary } from '../../deploy/local/binary.ts';
import { runCommand } from '../../deploy/local/command.ts';
import type { KubeAccess } from '../../deploy/local/control-plane.ts';
import { askKubeFor } from '../../deploy/local/kube-api.ts';
import { applyManifests, makeNamespace } from '../../deploy/local/kube-apply.ts';
import { makeMinioUser, type MinioUser } from '../../deploy/local/minio.ts';
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
/** Several times what it takes on a busy machine. */
const PATIENCE_MS = 15_000;

/** A StorageProbe as the API server tells it. */
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

/** A namespace with probes in it. It stays: nobody there would end its deletion. */
export interface ProbeNamespace {
  readonly name: string;
  /** Puts keys into a Secret, whether it is there or not. */
  putSecret(name: string, keys: Readonly<Record<string, string>>): Promise<void>;
  deleteSecret(name: string): Promise<void>;
  /** Makes the probe or changes it: `spec` is all of its spec. */
  apply(name: string, spec: object): Promise<Probe>;
  /** Asks for runs now. */
  requestRun(name: string, value: string): Promise<void>;
  get(name: string): Promise<Probe>;
  delete(name: string): Promise<void>;
  /** All Events that tell of a probe, or of its former namesakes. */
  events(name: string): Promise<ProbeEvent[]>;
  /** Waits until the probe is as `isSo` wants it. */
  until(what: string, name: string, isSo: (probe: Probe) => boolean, timeoutMs?: number): Promise<Probe>;
  untilHealthy(name: string): Promise<Probe>;
  kubectl(...args: readonly string[]): Promise<string>;
  /** @throws Error when {@link CANARY} stands anywhere where others can read. */
  expectNoCanary(operators: readonly RunningOperator[]): Promise<void>;
}

/** @param kube the control plane; default: the one that all tests share. */
export async function makeProbeNamespace(
  prefix: string,
  kube: KubeAccess & { readonly kubeconfigFile: string } = sharedKube,
): Promise<ProbeNamespace> {
  const name = uniqueName(prefix);
  await makeNamespace(kube, name);
  const probes = `/apis/${API_VERSION}/namespaces/${name}/${PLURAL}`;
  const secrets = `/api/v1/namespaces/${name}/secrets`;
  const services = new Set<string>();

  const list = async <T>(path: string): Promise<T[]> =>
    (await askKubeFor<{ items: T[] }>(kube, { path })).items;
  const allEvents = (): Promise<ProbeEvent[]> => list(`/apis/events.k8s.io/v1/namespaces/${name}/events`);
  const get = (probe: string): Promise<Probe> => askKubeFor(kube, { path: `${probes}/${probe}` });
  const untilSo: ProbeNamespace['until'] = async (what, probe, isSo, timeoutMs = PATIENCE_MS) => {
    let last: Probe | undefined;
    try {
      return await until(`${probe} ${what}`, timeoutMs, async () => {
        last = await get(probe);
        return isSo(last) && last;
      });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new Error(`${why}; its status is ${JSON.stringify(last?.status)}`, { cause: error });
    }
  };

  async function kubectl(...args: readonly string[]): Promise<string> {
    const program = await getBinary('kubectl');
    const whose = ['--kubeconfig', kube.kubeconfigFile, '--namespace', name];
    return runCommand(program, [...whose, ...args], { signal: AbortSignal.timeout(KUBECTL_MS) });
  }

  /** All that others can read, by where it stands. */
  async function readAll(operators: readonly RunningOperator[]): Promise<Record<string, string>> {
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
      await askKubeFor(kube, { method: 'DELETE', path: `${secrets}/${secret}` });
    },
    async apply(probe, spec) {
      const manifest = { apiVersion: API_VERSION, kind: KIND, metadata: { name: probe }, spec };
      await applyManifests(kube, JSON.stringify(manifest), { namespace: name });
      const applied = await get(probe);
      for (const target of applied.spec.targets) services.add(target.name);
      return applied;
    },
    async requestRun(probe, value) {
      await askKubeFor(kube, {
        method: 'PATCH',
        path: `${probes}/${probe}`,
        contentType: 'application/merge-patch+json',
        body: { metadata: { annotations: { 'storageprobe.dev/run-requested-at': value } } },
      });
    },
    get,
    async delete(probe) {
      await askKubeFor(kube, { method: 'DELETE', path: `${probes}/${probe}` });
    },
    async events(probe) {
      return (await allEvents()).filter(({ regarding }) => regarding.name === probe);
    },
    until: untilSo,
    untilHealthy: (probe) =>
      untilSo('to be Healthy', probe, ({ status }) => conditionOf(status, 'Healthy')?.status === 'True'),
    kubectl,
    async expectNoCanary(operators) {
      const texts = await readAll(operators);
      for (const [source, text] of Object.entries(texts)) {
        if (!text.includes(name)) throw new Error(`there is nothing of the tests in the ${source}`);
      }
      expectNoCanary(texts);

      await kubectl('annotate', 'sprobe', '--all', `planted=${CANARY}`);
      const planted = await readAll(operators);
      let isFound = false;
      try {
        expectNoCanary(planted);
      } catch {
        isFound = true;
      }
      if (!isFound) throw new Error('the search finds no canary even where one was planted');
    },
  };
}

/** What is left to see when all is over: no secret anywhere, nothing that went wrong, and an orderly end. */
export async function expectGoodEnd(namespace: ProbeNamespace, operator: RunningOperator): Promise<void> {
  await using _ = operator;
  await namespace.expectNoCanary([operator]);
  const troubles = operator
    .logs()
    .filter(({ level, msg }) => level === 'error' || msg === 'an Event was dropped');
  if (troubles.length > 0) throw new Error(`the operator had trouble: ${JSON.stringify(troubles)}`);
  const { code, signal } = await operator.stop();
  if (code !== 0) throw new Error(`the operator ended with ${code ?? signal}`);
}

function tracesOf(service: string): Promise<unknown[]> {
  return findTraces(jaegerUrl, service, { signal: AbortSignal.timeout(JAEGER_MS), limit: 200 });
}

/** A user of the shared store whose secret key is the {@link CANARY}, and who has the rights that the manual asks for. */
export function makeCanaryUser(): Promise<MinioUser> {
  return makeMinioUser(sharedStore, POLICY, { secretKey: CANARY });
}

export function conditionOf(status: ProbeStatus | undefined, type: ConditionType): Condition | undefined {
  return status?.conditions?.find((condition) => condition.type === type);
}

export function targetStatusOf(status: ProbeStatus | undefined, target: string): TargetStatus | undefined {
  return status?.targets?.find(({ name }) => name === target);
}

/** A spec with one target, which is visited every second. */
export function everySecond(target: string, endpoint: string, spec: object = {}): object {
  return { schedule: { interval: '1s' }, targets: [targetOf(target, endpoint)], ...spec };
}

/** How many runs of a probe the operator has counted; 0 where it knows nothing of it. */
export async function runsOf(
  operator: RunningOperator,
  probe: string,
  ...parts: readonly string[]
): Promise<number> {
  const counters = await operator.samples('storage_probe_runs_total{', `probe="${probe}"`, ...parts);
  return [...counters.values()].reduce((sum, value) => sum + value, 0);
}

/** Waits until a probe has so many more runs. */
export async function untilRuns(
  operator: RunningOperator,
  probe: string,
  more: number,
  ...parts: readonly string[]
): Promise<void> {
  const before = await runsOf(operator, probe, ...parts);
  await until(`${more} more runs of ${probe} ${parts.join()}`, PATIENCE_MS + more * 2_000, async () => {
    return (await runsOf(operator, probe, ...parts)) >= before + more;
  });
}
