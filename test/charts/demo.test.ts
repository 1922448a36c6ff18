import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, inject, it } from 'vitest';
import { stringify } from 'yaml';

import { requestKube, requestKubeBody } from '../../deploy/local/kube-api.ts';
import { applyManifests } from '../../deploy/local/kube-apply.ts';
import { readDocuments } from '../../src/api/documents.ts';
import { chartPath, lintChart, type Manifest, renderChart, runHelm } from '../../deploy/local/helm.ts';
import { uniqueName } from '../support/unique-name.ts';

const CHART = 'storage-probe-demo';
const { kube } = inject('servers');

interface Container {
  readonly image: string;
  readonly imagePullPolicy: string;
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly ports?: readonly { readonly name: string }[];
  readonly resources: unknown;
  readonly volumeMounts: readonly { readonly name: string }[];
}

interface PodTemplate {
  readonly metadata: {
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: {
    readonly automountServiceAccountToken: boolean;
    readonly imagePullSecrets?: readonly { readonly name: string }[];
    readonly containers: readonly [Container];
    readonly volumes: readonly object[];
  };
}

interface Workload extends Manifest {
  readonly spec: {
    readonly replicas?: number;
    readonly selector?: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly template: PodTemplate;
    readonly volumeClaimTemplates?: readonly {
      readonly metadata: { readonly name: string };
      readonly spec: object;
    }[];
  };
}

interface Service extends Manifest {
  readonly spec: {
    readonly type: string;
    readonly selector: Readonly<Record<string, string>>;
    readonly ports: readonly {
      readonly name: string;
      readonly targetPort: string;
      readonly nodePort?: number;
    }[];
  };
}

function workloadsOf(manifests: readonly Manifest[]): Workload[] {
  return manifests.filter(({ kind }) => ['Deployment', 'StatefulSet', 'Job'].includes(kind)) as Workload[];
}

function find(manifests: readonly Manifest[], kind: string, name: string): Manifest {
  const found = manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);
  if (found === undefined) throw new Error(`the chart renders no ${kind} ${name}`);
  return found;
}

function kindsAndNames(manifests: readonly Manifest[]): string[] {
  return manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
}

function workload(manifests: readonly Manifest[], kind: string, name: string): Workload {
  return find(manifests, kind, name) as Workload;
}

/** The checksum annotations on the Collector's and Jaeger's Pods. */
function checksumsOf(manifests: readonly Manifest[]): unknown[] {
  return ['demo-collector', 'demo-jaeger'].map(
    (name) => workload(manifests, 'Deployment', name).spec.template.metadata.annotations?.['checksum/config'],
  );
}

function containerOf({ spec }: Workload): Container {
  return spec.template.spec.containers[0];
}

function secretValues(manifests: readonly Manifest[]): string[] {
  return manifests
    .filter(({ kind }) => kind === 'Secret')
    .flatMap(({ data }) => Object.entries(data as Record<string, string>))
    .filter(([key]) => key === 'rootPassword' || key === 'secretKey')
    .map(([, value]) => Buffer.from(value, 'base64').toString());
}

let defaults: readonly Manifest[];
beforeAll(async () => {
  defaults = await renderChart(CHART);
});

it('passes helm lint', async () => {
  expect(await lintChart(CHART)).toContain('0 chart(s) failed');
});

describe('names', () => {
  it('are strings even if they look like numbers', async () => {
    const manifests = await renderChart(CHART, {}, { release: '123', namespace: '2024' });
    const selectors = workloadsOf(manifests).map(({ spec }) => spec.selector ?? {});
    const texts = manifests.flatMap(({ metadata: { name, namespace, labels = {} } }) => [
      name,
      namespace,
      ...Object.values(labels),
    ]);
    expect(texts).toEqual(expect.arrayContaining(['123', '2024']));
    expect(texts.filter((text) => typeof text !== 'string')).toEqual([]);
    expect(JSON.stringify(selectors)).not.toContain(':123');
  });

  it('start with the name of the release, so that a namespace can contain several releases', async () => {
    const other = await renderChart(CHART, {}, { release: 'other' });
    expect(defaults.every(({ metadata }) => metadata.name.startsWith('demo-'))).toBe(true);
    expect(kindsAndNames(other).filter((key) => kindsAndNames(defaults).includes(key))).toEqual([]);
    const selectors = workloadsOf([...defaults, ...other]).flatMap(({ spec: { selector } }) =>
      selector === undefined ? [] : [JSON.stringify(selector)],
    );
    expect(selectors).toHaveLength(6);
    expect(new Set(selectors).size).toBe(selectors.length);
  });

  it('use the namespace of the release', async () => {
    const manifests = await renderChart(CHART, {}, { namespace: 'elsewhere' });
    expect(new Set(manifests.map(({ metadata }) => metadata.namespace))).toEqual(new Set(['elsewhere']));
    expect(JSON.stringify(manifests)).not.toContain('.storage.svc');
  });

  it('start with fullnameOverride if it is set', async () => {
    const manifests = await renderChart(CHART, { fullnameOverride: 'store' });
    expect(manifests.every(({ metadata }) => metadata.name.startsWith('store-'))).toBe(true);
  });
});

describe('credentials', () => {
  it('are different in each release', async () => {
    const values = secretValues([...defaults, ...(await renderChart(CHART))]);
    expect(values).toHaveLength(6);
    expect(new Set(values).size).toBe(6);
    for (const value of values) expect(value).toMatch(/^[A-Za-z0-9]{32}$/);
  });

  it('appear only in Secrets', () => {
    const others = JSON.stringify(defaults.filter(({ kind }) => kind !== 'Secret'));
    for (const value of secretValues(defaults)) {
      expect(others).not.toContain(value);
      expect(others).not.toContain(Buffer.from(value).toString('base64'));
    }
  });
});

describe('an installed release', () => {
  const namespace = uniqueName('demo-chart');
  const connectionFlags = [`--namespace=${namespace}`, `--kubeconfig=${kube.kubeconfigFile}`];

  // Skips the hook, because this cluster does not run Pods.
  async function install(values: object): Promise<{ secrets: unknown[]; root: string | undefined }> {
    const flags = ['--install', '--create-namespace', '--no-hooks'];
    await runHelm(['upgrade', 'demo', chartPath(CHART), ...flags, ...connectionFlags], values);
    const names = ['minio', 'ephemeral', 'existing'];
    const secrets = names.map((name) =>
      requestKubeBody<Manifest>(kube, { path: `/api/v1/namespaces/${namespace}/secrets/demo-${name}` }),
    );
    const path = `/apis/apps/v1/namespaces/${namespace}/statefulsets/demo-minio`;
    const { spec } = await requestKubeBody<Workload>(kube, { path });
    return {
      secrets: (await Promise.all(secrets)).map(({ data }) => data),
      root: spec.template.metadata.annotations?.['checksum/root'],
    };
  }

  it('keeps its credentials on upgrade and generates new credentials for deleted Secrets', async () => {
    const installed = await install({});
    expect(await install({ probes: { interval: '20s' } })).toEqual(installed);

    const path = `/api/v1/namespaces/${namespace}/secrets/demo-minio`;
    await requestKubeBody(kube, { method: 'DELETE', path });
    const changed = await install({});
    expect(changed.root).not.toBe(installed.root);
    expect(changed.secrets[0]).not.toEqual(installed.secrets[0]);
    expect(changed.secrets.slice(1)).toEqual(installed.secrets.slice(1));

    await runHelm(['uninstall', 'demo', '--no-hooks', ...connectionFlags]);
    const remaining = await requestKubeBody<{ items: unknown[] }>(kube, {
      path: `/api/v1/namespaces/${namespace}/secrets`,
    });
    expect(remaining.items).toEqual([]);
  });
});

describe('Services', () => {
  it('target the ports of exactly one Pod', () => {
    const services = defaults.filter(({ kind }) => kind === 'Service') as Service[];
    expect(services).toHaveLength(4);
    for (const { spec } of services) {
      const pods = workloadsOf(defaults).filter(({ spec: { template } }) =>
        Object.entries(spec.selector).every(([key, value]) => template.metadata.labels[key] === value),
      );
      expect(pods).toHaveLength(1);
      const ports = pods.flatMap((pod) => containerOf(pod).ports ?? []).map(({ name }) => name);
      expect(ports).toEqual(expect.arrayContaining(spec.ports.map(({ targetPort }) => targetPort)));
    }
  });

  it('have the types and node ports from the values', async () => {
    const manifests = await renderChart(CHART, {
      minio: { service: { type: 'NodePort', nodePorts: { s3: 30900, console: 30901 } } },
      collector: { service: { type: 'NodePort', nodePorts: { 'otlp-grpc': 30317 } } },
      jaeger: { service: { type: 'LoadBalancer', nodePorts: { ui: 30686 } } },
    });
    const actual = ['minio', 'collector', 'jaeger'].map((name) => {
      const { spec } = find(manifests, 'Service', `demo-${name}`) as Service;
      const nodePorts = spec.ports.flatMap(({ name: port, nodePort }) =>
        nodePort === undefined ? [] : [[port, nodePort]],
      );
      return { type: spec.type, nodePorts: Object.fromEntries(nodePorts) as unknown };
    });
    expect(actual).toEqual([
      { type: 'NodePort', nodePorts: { s3: 30900, console: 30901 } },
      { type: 'NodePort', nodePorts: { 'otlp-grpc': 30317 } },
      { type: 'LoadBalancer', nodePorts: { ui: 30686 } },
    ]);
    expect(find(manifests, 'Service', 'demo-jaeger-otlp')['spec']).toMatchObject({ clusterIP: 'None' });
  });
});

describe('Pods', () => {
  it('have no service account token, and a memory limit', () => {
    const pods = workloadsOf(defaults);
    expect(pods).toHaveLength(4);
    for (const pod of pods) {
      expect(pod.spec.template.spec.automountServiceAccountToken).toBe(false);
      expect(containerOf(pod).resources).toMatchObject({ limits: { memory: expect.any(String) } });
    }
  });

  it('use images, pull secrets, labels and resources from the values', async () => {
    const digest = `sha256:${'0'.repeat(64)}`;
    const resources = { limits: { memory: '333Mi' } };
    const component = { resources, image: { registry: 'registry.example.com', pullPolicy: 'Always' } };
    const manifests = await renderChart(CHART, {
      commonLabels: { team: 'storage', 'app.kubernetes.io/name': 'must be ignored' },
      imagePullSecrets: [{ name: 'pull' }],
      minio: { resources, image: { registry: '', digest } },
      collector: { ...component, image: { ...component.image, tag: '1.2.3' } },
      jaeger: component,
    });
    const pods = workloadsOf(manifests);
    expect(pods.map((pod) => containerOf(pod).image).toSorted()).toEqual([
      `minio/minio@${digest}`,
      `minio/minio@${digest}`,
      'registry.example.com/jaegertracing/jaeger:2.13.0',
      'registry.example.com/otel/opentelemetry-collector-contrib:1.2.3',
    ]);
    expect(pods.map((pod) => containerOf(pod).imagePullPolicy).toSorted()).toEqual([
      'Always',
      'Always',
      'IfNotPresent',
      'IfNotPresent',
    ]);
    for (const { spec } of pods) {
      expect(spec.template.spec.imagePullSecrets).toEqual([{ name: 'pull' }]);
      expect(spec.template.metadata.labels).toMatchObject({
        team: 'storage',
        'app.kubernetes.io/name': CHART,
      });
      expect(spec.selector?.matchLabels ?? {}).not.toHaveProperty('team');
    }
    const servers = pods.filter(({ kind }) => kind !== 'Job');
    expect(servers.map((pod) => containerOf(pod).resources)).toEqual(
      servers.map(() => expect.objectContaining(resources)),
    );
  });

  it('have the checksum of their configuration, so that a configuration change replaces them', async () => {
    const configurations = ['collector', 'jaeger'].map((name) => {
      const { data } = find(defaults, 'ConfigMap', `demo-${name}`) as Manifest & {
        data: Record<string, string>;
      };
      return data[`${name}.yaml`]?.trimEnd() ?? '';
    });
    const expected = configurations.map((text) => createHash('sha256').update(text).digest('hex'));
    expect(checksumsOf(defaults)).toEqual(expected);
  });

  it('get their settings from the values', async () => {
    const manifests = await renderChart(CHART, {
      collector: { sampling: { passedRunsPercent: 12.5, decisionWait: '2m' } },
      jaeger: { maxTraces: 2_000_000 },
      minio: { volume: { size: '9Gi', storageClassName: 'fast' } },
    });
    const envOf = (name: string): unknown =>
      containerOf(workload(manifests, 'Deployment', `demo-${name}`)).env;
    expect(envOf('collector')).toEqual([
      { name: 'JAEGER_OTLP', value: 'demo-jaeger-otlp:4317' },
      { name: 'DECISION_WAIT', value: '2m' },
      { name: 'PASSED_RUNS_PERCENT', value: '12.5' },
    ]);
    expect(envOf('jaeger')).toEqual([{ name: 'MAX_TRACES', value: '2000000' }]);
    expect(workload(manifests, 'StatefulSet', 'demo-minio').spec.volumeClaimTemplates?.[0]?.spec).toEqual({
      accessModes: ['ReadWriteOnce'],
      storageClassName: 'fast',
      resources: { requests: { storage: '9Gi' } },
    });
  });
});

describe('the probes', () => {
  it('are valid, with Secrets that the chart creates', () => {
    const probes = defaults.filter(({ kind }) => kind === 'StorageProbe');
    expect(probes.map(({ metadata }) => metadata.name)).toEqual(['demo-my-minio', 'demo-archive']);
    for (const probe of probes) {
      expect(readDocuments([{ name: 'probe', text: JSON.stringify(probe) }]).problems).toEqual([]);
      const { targets } = probe['spec'] as { targets: [{ credentialsSecretRef: { name: string } }] };
      const { data } = find(defaults, 'Secret', targets[0].credentialsSecretRef.name);
      expect(Object.keys(data as object).toSorted()).toEqual(['accessKey', 'secretKey']);
    }
  });

  it('run at the interval from the values', async () => {
    const manifests = await renderChart(CHART, { probes: { interval: '1m30s' } });
    expect(find(manifests, 'StorageProbe', 'demo-my-minio')).toMatchObject({
      spec: { schedule: { interval: '1m30s' } },
    });
  });

  it('can be disabled', async () => {
    const manifests = await renderChart(CHART, { probes: { enabled: false } });
    expect(manifests.map(({ kind }) => kind)).not.toContain('StorageProbe');
  });
});

it.each([
  { values: { minoi: {} }, want: "'minoi' not allowed" },
  { values: { jaeger: { image: { tags: '2' } } }, want: "'tags' not allowed" },
  { values: { minio: { service: { type: 'Node' } } }, want: '/minio/service/type' },
  {
    values: { minio: { service: { nodePorts: { ui: 30000 } } } },
    want: "at '/minio/service/nodePorts': additional properties 'ui' not allowed",
  },
  {
    values: { collector: { sampling: { passedRunsPercent: 101 } } },
    want: '/collector/sampling/passedRunsPercent',
  },
  { values: { collector: { image: { digest: 'sha256:1' } } }, want: '/collector/image/digest' },
  { values: { jaeger: { maxTraces: 0 } }, want: '/jaeger/maxTraces' },
  { values: { probes: { interval: 10 } }, want: '/probes/interval' },
  { values: { fullnameOverride: '1st' }, want: '/fullnameOverride' },
])('rejects $values', async ({ values, want }) => {
  await expect(renderChart(CHART, values)).rejects.toThrow(want);
});

describe('the API server', () => {
  const namespace = uniqueName('demo-chart');
  beforeAll(async () => {
    const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
    const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels } };
    await requestKubeBody(kube, { method: 'POST', path: '/api/v1/namespaces', body });
  });

  it.each([
    { name: 'the defaults', values: {} },
    {
      name: 'other values',
      values: {
        commonLabels: { team: 'storage' },
        imagePullSecrets: [{ name: 'pull' }],
        minio: {
          volume: { storageClassName: 'fast' },
          service: { type: 'NodePort', nodePorts: { s3: 30900 } },
        },
      },
    },
  ])('accepts all objects with $name', async ({ values }) => {
    const manifests = await renderChart(CHART, values, { namespace });
    const text = manifests.map((manifest) => stringify(manifest)).join('---\n');
    await expect(applyManifests(kube, text, { dryRun: true })).resolves.toBeUndefined();
  });

  it.each([
    { kind: 'StatefulSet', name: 'demo-minio' },
    { kind: 'Job', name: 'demo-minio-users' },
    { kind: 'Deployment', name: 'demo-collector' },
    { kind: 'Deployment', name: 'demo-jaeger' },
  ])(
    'admits the Pods of $name to a namespace that enforces the restricted standard',
    async ({ kind, name }) => {
      const { volumeClaimTemplates = [], template } = workload(defaults, kind, name).spec;
      // The StatefulSet controller would add these volumes.
      const claimed = volumeClaimTemplates.map(({ metadata }) => ({ name: metadata.name, emptyDir: {} }));
      const pod = {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { ...template.metadata, name },
        spec: { ...template.spec, volumes: [...template.spec.volumes, ...claimed] },
      };
      const path = `/api/v1/namespaces/${namespace}/pods?dryRun=All&fieldValidation=Strict`;
      expect(await requestKube(kube, { method: 'POST', path, body: pod })).toMatchObject({ status: 201 });
    },
  );
});
