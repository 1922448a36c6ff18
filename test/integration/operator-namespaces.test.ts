import { mkdtempDisposable, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import PQueue from 'p-queue';
import { afterAll, beforeAll, expect, it } from 'vitest';

import { type ControlPlane, startControlPlane } from '../../deploy/local/control-plane.ts';
import { requestKubeBody } from '../../deploy/local/kube-api.ts';
import { applyManifests } from '../../deploy/local/kube-apply.ts';
import { API_VERSION, KIND, PLURAL } from '../../src/api/storage-probe.ts';
import { until } from '../support/until.ts';
import { startOperator } from './operator.ts';
import { stablePort } from './ports.ts';
import { runCount, untilMoreRuns } from './probes.ts';
import { createNamespace, messagesOf, ONCE_A_DAY, specOf, sumOfSamples } from './resilience.ts';

const DEPLOY = new URL('../../deploy/', import.meta.url);
const NAMESPACES = 100;
const LARGE_PROBES = 300;
/** All annotations of an object together may have 256 KiB. Source: apimachinery, `TotalAnnotationSizeLimitB`. */
const LARGE_ANNOTATION_BYTES = 255 * 1_024;
const START_MS = 60_000;
/** Longer than the maximum backoff of a forbidden namespace. */
const ALLOWED_MS = 70_000;
/** A user with rights in some namespaces only. */
const USER = 'limited';

let kube: ControlPlane;
let kubeconfigFile: string;
const resources = new AsyncDisposableStack();

beforeAll(async () => {
  const dir = resources.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-namespaces-')));
  kube = resources.use(
    await startControlPlane({ dir: dir.path, port: await stablePort(), users: [{ name: USER }] }),
  );
  for (const file of ['crds/storageprobes.yaml', 'local/rbac.yaml'])
    await applyManifests(kube, await readFile(new URL(file, DEPLOY), 'utf8'));
  await grant('storage-probe', 'Role');
  kubeconfigFile = await kube.kubeconfigFor(USER);
});

afterAll(() => resources.disposeAsync());

/** Grants the operator's rights in one namespace. */
function grant(namespace: string, kind: 'ClusterRole' | 'Role' = 'ClusterRole'): Promise<void> {
  const apiGroup = 'rbac.authorization.k8s.io';
  return applyManifests(
    kube,
    JSON.stringify({
      apiVersion: `${apiGroup}/v1`,
      kind: 'RoleBinding',
      metadata: { name: USER, namespace },
      roleRef: { apiGroup, kind, name: 'storage-probe' },
      subjects: [{ apiGroup, kind: 'User', name: USER }],
    }),
  );
}

async function createLargeProbes(namespace: string): Promise<void> {
  const annotations = { 'example.com/large': 'x'.repeat(LARGE_ANNOTATION_BYTES) };
  const queue = new PQueue({ concurrency: 8 });
  await queue.addAll(
    Array.from({ length: LARGE_PROBES }, (_, index) => async () => {
      const metadata = { name: `large-${index}`, annotations };
      const spec = { ...specOf(`large-${index}`, ONCE_A_DAY), suspend: true };
      await requestKubeBody(kube, {
        method: 'POST',
        path: `/apis/${API_VERSION}/namespaces/${namespace}/${PLURAL}`,
        body: { apiVersion: API_VERSION, kind: KIND, metadata, spec },
      });
    }),
  );
}

it(
  'all other namespaces are probed when one is forbidden, one is deleted and one has huge objects',
  { timeout: 300_000 },
  async () => {
    const namespaces = await Promise.all(
      Array.from({ length: NAMESPACES }, () => createNamespace('watched', kube)),
    );
    const [forbidden, deleted, large, ...others] = namespaces;
    if (forbidden === undefined || deleted === undefined || large === undefined) throw new Error('too few');
    for (const namespace of namespaces) {
      await namespace.apply(namespace.name, specOf(namespace.name, { interval: '5s' }));
      if (namespace !== forbidden) await grant(namespace.name);
    }
    await createLargeProbes(large.name);

    await using operator = await startOperator({
      namespaces: namespaces.map(({ name }) => name),
      kubeconfigFile,
    });
    const probed = [deleted, large, ...others];
    await Promise.all(probed.map(({ name }) => untilRun(name)));
    expect(await sumOfSamples(operator, 'storage_probe_forbidden_namespaces')).toBe(1);
    expect(await sumOfSamples(operator, 'storage_probe_reflector_items')).toBe(NAMESPACES - 1 + LARGE_PROBES);
    expect(await runCount(operator, forbidden.name)).toBe(0);
    expect(operator.logs()).toContainEqual(
      expect.objectContaining({ level: 'warn', namespace: forbidden.name, resource: PLURAL }),
    );

    const access = `/apis/rbac.authorization.k8s.io/v1/namespaces/${deleted.name}/rolebindings/${USER}`;
    await requestKubeBody(kube, { method: 'DELETE', path: access });
    await deleted.delete(deleted.name);
    await requestKubeBody(kube, { method: 'DELETE', path: `/api/v1/namespaces/${deleted.name}` });
    await until('the series of the deleted probe to be removed', START_MS, async () => {
      return (await operator.samples(`probe="${deleted.name}"`)).size === 0;
    });
    await Promise.all([large, ...others].map(({ name }) => untilMoreRuns(operator, name, 2)));
    await Promise.all(others.map((namespace) => namespace.untilHealthy(namespace.name)));
    expect(await sumOfSamples(operator, 'leader_election_master_status{')).toBe(1);
    expect(messagesOf(operator, 'warn')).not.toContain('lost leadership');

    await grant(forbidden.name);
    await until('the allowed namespace to be probed', ALLOWED_MS, async () => {
      return (await runCount(operator, forbidden.name)) > 0;
    });
    expect(await sumOfSamples(operator, 'storage_probe_forbidden_namespaces')).toBe(0);

    function untilRun(name: string): Promise<unknown> {
      return until(`a run of ${name}`, START_MS, async () => (await runCount(operator, name)) > 0);
    }
  },
);
