import { mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, inject, it } from 'vitest';
import { stringify } from 'yaml';

import { OPERATOR, tokenOf } from '../../deploy/local/control-plane.ts';
import { requestKubeBody } from '../../deploy/local/kube-api.ts';
import { applyManifests } from '../../deploy/local/kube-apply.ts';
import { startOperator } from '../integration/operator.ts';
import { everySecondSpec, createCanaryUser, createProbeNamespace } from '../integration/probes.ts';
import { sharedStore } from '../integration/store.ts';
import { type Manifest, renderChart } from '../../deploy/local/helm.ts';
import { uniqueName } from '../support/unique-name.ts';

const { kube } = inject('servers');

interface Deployment extends Manifest {
  readonly spec: {
    readonly template: { readonly spec: { readonly containers: readonly [{ readonly args: string[] }] } };
  };
}

it('runs probes with the flags and permissions from the chart', async () => {
  const release = uniqueName('chart');
  const namespace = await createProbeNamespace('chart-probes');
  const values = {
    fullnameOverride: release,
    watchNamespaces: [namespace.name],
    controller: { allowAddresses: ['127.0.0.0/8', '::1'] },
  };
  const rendered = await renderChart('storage-probe', values, { release, namespace: release });
  const permissions = rendered.filter(({ kind }) => ['ServiceAccount', 'Role', 'RoleBinding'].includes(kind));
  await applyManifests(kube, permissions.map((manifest) => stringify(manifest)).join('---\n'));
  const deployment = rendered.find(({ kind }) => kind === 'Deployment') as Deployment;
  const { args } = deployment.spec.template.spec.containers[0];

  await using dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-chart-'));
  await using operator = await startOperator({
    namespaces: [namespace.name],
    kubeconfigFile: await writeKubeconfig(release, join(dir.path, 'kubeconfig')),
    flags: args.filter((arg) => arg.startsWith('--') && !arg.startsWith('--listen-address=')),
  });
  const probe = uniqueName('chart');
  await namespace.putSecret('probe-user', { ...(await createCanaryUser()) });
  await namespace.apply(probe, everySecondSpec(probe, sharedStore.url));
  await namespace.untilHealthy(probe);

  expect((await namespace.events(probe)).map(({ reason }) => reason)).toContain('Passed');
  expect([...(await operator.samples('rest_client_requests_total{', 'code="403"')).keys()]).toEqual([]);
  expect([...(await operator.samples('leader_election_master_status')).values()]).toEqual([1]);
  expect((await operator.stop()).code).toBe(0);
  const lease = await requestKubeBody<{ spec: { holderIdentity?: string } }>(kube, {
    path: `/apis/coordination.k8s.io/v1/namespaces/${release}/leases/${release}`,
  });
  expect(lease.spec.holderIdentity ?? '').toBe('');
});

/** Writes a kubeconfig for the release's ServiceAccount, whose name and namespace are the release's name. */
async function writeKubeconfig(release: string, file: string): Promise<string> {
  const { status } = await requestKubeBody<{ status: { token: string } }>(kube, {
    method: 'POST',
    path: `/api/v1/namespaces/${release}/serviceaccounts/${release}/token`,
    body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} },
  });
  const operatorKubeconfig = await readFile(kube.operatorKubeconfigFile, 'utf8');
  await writeFile(file, operatorKubeconfig.replace(tokenOf(kube, OPERATOR), status.token), { mode: 0o600 });
  return file;
}
