import { inject } from 'vitest';

import { reachCluster } from '../../deploy/kind/cluster.ts';
import { IMAGE, installRelease } from '../../deploy/kind/release.ts';
import { runCommand } from '../../deploy/local/command.ts';
import { findTraces, type JaegerTrace } from '../../deploy/local/traces.ts';
import type { ProbeStatus } from '../../src/api/probe-status.ts';
import { API_VERSION, KIND } from '../../src/api/storage-probe.ts';
import { samplesIn } from '../support/exposition.ts';
import type { RunTime } from '../support/run-times.ts';
import { uniqueName } from '../support/unique-name.ts';
import { type ListeningKubectl, startListening } from './background.ts';
import { INSTALL_DEADLINE, NAMESPACES_FILE, OPERATOR, operatorRelease, STORAGE } from './releases.ts';

export const { kubeconfigFile } = inject('stack');
const { cluster: name, apiUrl, imageTag } = inject('stack');
const COMMAND_MS = 180_000;
const REQUEST_MS = 20_000;
const HEALTHY_DEADLINE = '120s';

const OPERATOR_PODS = 'app.kubernetes.io/component=operator';
export const STORE_URL = `http://demo-minio.${STORAGE}.svc:9000`;
export const JAEGER_URL = `${apiUrl}/api/v1/namespaces/${STORAGE}/services/demo-jaeger:ui/proxy`;
/** The container that is the cluster's only node. */
const NODE = `${name}-control-plane`;
export const IMAGE_NAME = `${IMAGE}:${imageTag}`;

const cluster = await reachCluster({ name, kubeconfigFile });

/** Listens on this machine for a port of a Service. */
export function forward(service: string, namespace: string, port: number): Promise<ListeningKubectl> {
  const flags = [...cluster.kubectlFlags, `--namespace=${namespace}`];
  return startListening('port-forward', ...flags, `service/${service}`, `:${port}`);
}

/** Returns what it printed. @throws Error with its words. */
export function kubectl(...args: readonly string[]): Promise<string> {
  return cluster.kubectl(args, { signal: AbortSignal.timeout(COMMAND_MS) });
}

/** Returns what it printed. @throws Error with its words. */
export function helm(...args: readonly string[]): Promise<string> {
  return cluster.helm(args, { signal: AbortSignal.timeout(COMMAND_MS) });
}

export function load(image: string): Promise<void> {
  return cluster.load(image);
}

/** What `kubectl get … -o json` tells. */
export async function get<T>(...args: readonly string[]): Promise<T> {
  return JSON.parse(await kubectl('get', ...args, '--output=json')) as T;
}

export async function list<T>(...args: readonly string[]): Promise<readonly T[]> {
  return (await get<{ readonly items: readonly T[] }>(...args)).items;
}

export async function apply(manifest: object): Promise<void> {
  const input = JSON.stringify(manifest);
  const signal = AbortSignal.timeout(COMMAND_MS);
  await cluster.kubectl(['apply', '--filename=-'], { input, signal });
}

/**
 * Installs or upgrades the operator, and waits until it is ready. Disposed of, it is uninstalled.
 *
 * @param values on top of the default ones, of the image and of where traces go.
 * @param chart its folder; default: that of this checkout.
 */
export async function installOperator(values: object = {}, chart?: string): Promise<AsyncDisposable> {
  await kubectl('apply', `--filename=${NAMESPACES_FILE}`);
  const release = operatorRelease(imageTag, values);
  await installRelease(cluster, chart === undefined ? release : { ...release, chart }, INSTALL_DEADLINE);
  return { [Symbol.asyncDispose]: uninstallOperator };
}

export async function uninstallOperator(): Promise<void> {
  await helm('uninstall', OPERATOR, `--namespace=${OPERATOR}`, '--ignore-not-found', '--wait');
}

export interface Pod {
  readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
}

/** Those that are not about to end. */
export async function operatorPods(): Promise<string[]> {
  const pods = await list<Pod>('pods', `--namespace=${OPERATOR}`, `--selector=${OPERATOR_PODS}`);
  return pods
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .map(({ metadata }) => metadata.name);
}

/** Who holds the Lease: a pod's name, and what makes it unique. Empty: nobody. */
export async function leader(): Promise<string> {
  const lease = await get<{ readonly spec: { readonly holderIdentity?: string } }>(
    'lease',
    OPERATOR,
    `--namespace=${OPERATOR}`,
  );
  return lease.spec.holderIdentity ?? '';
}

/** The samples of a pod's metrics whose name and labels hold all of `parts`. */
export async function samplesOf(
  pod: string,
  ...parts: readonly string[]
): Promise<ReadonlyMap<string, number>> {
  const url = `${apiUrl}/api/v1/namespaces/${OPERATOR}/pods/${pod}:8080/proxy/metrics`;
  const response = await fetch(url, { signal: AbortSignal.timeout(REQUEST_MS) });
  return samplesIn(await response.text(), parts);
}

/** Runs a shell script on the node, as its root, with the ids of the processes of a Pod as `$@`. */
export async function onNode(pod: string, script: string): Promise<string> {
  const find = `set -- $(grep --files-with-matches --null-data "^HOSTNAME=${pod}$" /proc/[0-9]*/environ | cut -d/ -f3)`;
  return runCommand('docker', ['exec', NODE, 'sh', '-c', `${find}; ${script}`], {
    signal: AbortSignal.timeout(REQUEST_MS),
  });
}

export interface Probe {
  readonly spec: object;
  readonly status?: ProbeStatus;
}

/** A namespace with probes in it. Disposed of, it goes with them. */
export interface ProbeNamespace extends AsyncDisposable {
  readonly name: string;
  /** Makes a probe of the demo's MinIO. Its target, and so its service in Jaeger, has the same name. */
  applyProbe(probe: string, interval: string): Promise<void>;
  get(probe: string): Promise<Probe>;
  /** Waits until `Healthy` is as told; default `True`. */
  untilHealthy(probe: string, status?: 'True' | 'False'): Promise<void>;
}

export async function makeProbeNamespace(prefix: string): Promise<ProbeNamespace> {
  const namespace = uniqueName(prefix);
  const within = `--namespace=${namespace}`;
  await kubectl('create', 'namespace', namespace);
  const { data } = await get<{ data: object }>('secret', 'demo-ephemeral', `--namespace=${STORAGE}`);
  const metadata = { name: 'probe-user', namespace };
  await apply({ apiVersion: 'v1', kind: 'Secret', metadata, data });
  return {
    name: namespace,
    async applyProbe(probe, interval) {
      const credentialsSecretRef = { name: 'probe-user' };
      const targets = [{ name: probe, endpoint: STORE_URL, region: 'us-east-1', credentialsSecretRef }];
      await apply({
        apiVersion: API_VERSION,
        kind: KIND,
        metadata: { name: probe, namespace },
        spec: { schedule: { interval }, targets, objects: [{ size: '4Ki' }] },
      });
    },
    get: (probe) => get('storageprobe', probe, within),
    async untilHealthy(probe, status = 'True') {
      const condition = `--for=condition=Healthy=${status}`;
      await kubectl('wait', condition, `storageprobe/${probe}`, within, `--timeout=${HEALTHY_DEADLINE}`);
    },
    async [Symbol.asyncDispose]() {
      await kubectl('delete', 'storageprobes', '--all', within, '--timeout=60s');
      await kubectl('delete', 'namespace', namespace, '--wait=false');
    },
  };
}

/** At most so many are told of one service. */
const MAX_TRACES = 400;
const ROOT_SPAN = 'storage probe';

/** The traces of a service that have their root. */
export async function tracesOf(service: string): Promise<JaegerTrace[]> {
  const signal = AbortSignal.timeout(REQUEST_MS);
  const traces = await findTraces(JAEGER_URL, service, { signal, limit: MAX_TRACES });
  return traces.filter(({ spans }) => spans.some(({ operationName }) => operationName === ROOT_SPAN));
}

/** When the runs of probes were under way, by service, as Jaeger tells it. */
export async function runTimes(services: readonly string[]): Promise<Map<string, RunTime[]>> {
  const timed = services.map(async (service) => [service, timesOf(await tracesOf(service))] as const);
  return new Map(await Promise.all(timed));
}

function timesOf(traces: readonly JaegerTrace[]): RunTime[] {
  return traces
    .flatMap(({ spans }) => spans.filter(({ operationName }) => operationName === ROOT_SPAN))
    .map(({ startTime, duration }) => ({ startMs: startTime / 1_000, endMs: (startTime + duration) / 1_000 }))
    .toSorted((a, b) => a.startMs - b.startMs);
}
