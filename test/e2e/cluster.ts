import { inject } from 'vitest';

import { connectCluster } from '../../deploy/kind/cluster.ts';
import { IMAGE, installRelease } from '../../deploy/kind/release.ts';
import { runCommand } from '../../deploy/local/command.ts';
import { findTraces, type JaegerTrace } from '../../deploy/local/traces.ts';
import type { ProbeStatus } from '../../src/api/probe-status.ts';
import { API_VERSION, KIND } from '../../src/api/storage-probe.ts';
import { samplesIn } from '../support/exposition.ts';
import type { RunTime } from '../support/run-times.ts';
import { uniqueName } from '../support/unique-name.ts';
import { type KubectlListener, startKubectlListener } from './kubectl-listener.ts';
import { INSTALL_DEADLINE, NAMESPACES_FILE, OPERATOR, operatorRelease, STORAGE } from './releases.ts';

export const { kubeconfigFile } = inject('stack');
const { cluster: name, apiUrl, imageTag } = inject('stack');
const COMMAND_MS = 180_000;
const REQUEST_MS = 20_000;
const HEALTHY_DEADLINE = '120s';

const OPERATOR_PODS = 'app.kubernetes.io/component=operator';
export const STORE_URL = `http://demo-minio.${STORAGE}.svc:9000`;
export const JAEGER_URL = `${apiUrl}/api/v1/namespaces/${STORAGE}/services/demo-jaeger:ui/proxy`;
/** Container of the cluster's only node. */
const NODE = `${name}-control-plane`;
export const IMAGE_NAME = `${IMAGE}:${imageTag}`;

const cluster = await connectCluster({ name, kubeconfigFile });

/** Forwards a local port to a port of a Service. */
export function forward(service: string, namespace: string, port: number): Promise<KubectlListener> {
  const flags = [...cluster.kubectlFlags, `--namespace=${namespace}`];
  return startKubectlListener('port-forward', ...flags, `service/${service}`, `:${port}`);
}

/** Returns stdout. @throws Error with kubectl's error output. */
export function kubectl(...args: readonly string[]): Promise<string> {
  return cluster.kubectl(args, { signal: AbortSignal.timeout(COMMAND_MS) });
}

/** Returns stdout. @throws Error with Helm's error output. */
export function helm(...args: readonly string[]): Promise<string> {
  return cluster.helm(args, { signal: AbortSignal.timeout(COMMAND_MS) });
}

export function load(image: string): Promise<void> {
  return cluster.load(image);
}

/** Parsed output of `kubectl get … -o json`. */
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
 * Installs or upgrades the operator and waits until it is ready. Disposing of the result uninstalls the operator.
 *
 * @param values Chart values, in addition to the image tag and the OTLP endpoint.
 * @param chart The chart's folder. Default: the chart in this checkout.
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

/** Names of the operator's Pods, except for Pods being deleted. */
export async function operatorPods(): Promise<string[]> {
  const pods = await list<Pod>('pods', `--namespace=${OPERATOR}`, `--selector=${OPERATOR_PODS}`);
  return pods
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .map(({ metadata }) => metadata.name);
}

/** Identity of the Lease holder: the Pod's name and a unique suffix. Empty if no replica holds the Lease. */
export async function leaseHolder(): Promise<string> {
  const lease = await get<{ readonly spec: { readonly holderIdentity?: string } }>(
    'lease',
    OPERATOR,
    `--namespace=${OPERATOR}`,
  );
  return lease.spec.holderIdentity ?? '';
}

/** A Pod's metric samples whose name and labels contain all of `parts`. */
export async function samplesOf(
  pod: string,
  ...parts: readonly string[]
): Promise<ReadonlyMap<string, number>> {
  const url = `${apiUrl}/api/v1/namespaces/${OPERATOR}/pods/${pod}:8080/proxy/metrics`;
  const response = await fetch(url, { signal: AbortSignal.timeout(REQUEST_MS) });
  return samplesIn(await response.text(), parts);
}

/** Runs a shell script as root on the node, with the process IDs of a Pod as `$@`. */
export async function execOnNode(pod: string, script: string): Promise<string> {
  const find = `set -- $(grep --files-with-matches --null-data "^HOSTNAME=${pod}$" /proc/[0-9]*/environ | cut -d/ -f3)`;
  return runCommand('docker', ['exec', NODE, 'sh', '-c', `${find}; ${script}`], {
    signal: AbortSignal.timeout(REQUEST_MS),
  });
}

export interface Probe {
  readonly spec: object;
  readonly status?: ProbeStatus;
}

/** A namespace for probes. Disposing of it deletes the namespace and its probes. */
export interface ProbeNamespace extends AsyncDisposable {
  readonly name: string;
  /** Creates a probe for the demo's MinIO. The probe's target, and so its service in Jaeger, has the same name. */
  applyProbe(probe: string, interval: string): Promise<void>;
  get(probe: string): Promise<Probe>;
  /** Waits until `Healthy` has this status. Default: `True`. */
  untilHealthy(probe: string, status?: 'True' | 'False'): Promise<void>;
}

export async function createProbeNamespace(prefix: string): Promise<ProbeNamespace> {
  const namespace = uniqueName(prefix);
  const inNamespace = `--namespace=${namespace}`;
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
    get: (probe) => get('storageprobe', probe, inNamespace),
    async untilHealthy(probe, status = 'True') {
      const condition = `--for=condition=Healthy=${status}`;
      await kubectl('wait', condition, `storageprobe/${probe}`, inNamespace, `--timeout=${HEALTHY_DEADLINE}`);
    },
    async [Symbol.asyncDispose]() {
      await kubectl('delete', 'storageprobes', '--all', inNamespace, '--timeout=60s');
      await kubectl('delete', 'namespace', namespace, '--wait=false');
    },
  };
}

/** Maximum number of traces to fetch for one service. */
const MAX_TRACES = 400;
const ROOT_SPAN = 'storage probe';

/** The traces of a service, except for traces whose root span has not arrived yet. */
export async function tracesOf(service: string): Promise<JaegerTrace[]> {
  const signal = AbortSignal.timeout(REQUEST_MS);
  const traces = await findTraces(JAEGER_URL, service, { signal, limit: MAX_TRACES });
  return traces.filter(({ spans }) => spans.some(({ operationName }) => operationName === ROOT_SPAN));
}

/** Start and end of each run in Jaeger, by service. */
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
