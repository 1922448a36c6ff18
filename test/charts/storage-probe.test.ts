import { cp, mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, inject, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { z } from 'zod';

import packageJson from '../../package.json' with { type: 'json' };
import { requestKube, requestKubeBody } from '../../deploy/local/kube-api.ts';
import { applyManifests } from '../../deploy/local/kube-apply.ts';
import { ChartValues } from '../../scripts/chart-values.ts';
import { installManifests } from '../../scripts/install-manifests.ts';
import { crdYaml } from '../../src/api/crd.ts';
import { unwrap } from '../../src/api/field.ts';
import { FLAGS, flagName } from '../../src/commands/controller/flags.ts';
import {
  chartPath,
  lintChart,
  type Manifest,
  renderChart,
  type RenderOptions,
  runHelm,
} from '../../deploy/local/helm.ts';
import {
  FORBIDDEN_PERMISSIONS,
  LEASE_PERMISSIONS,
  resourceAttributes,
  type Permission,
  RUN_PERMISSIONS,
} from '../support/operator-permissions.ts';
import { uniqueName } from '../support/unique-name.ts';
import { renderRules, type Rule } from './promtool.ts';
import { SAMPLES } from './storage-probe-samples.ts';

const CHART = 'storage-probe';
const ROOT = new URL('../../', import.meta.url);
const RELEASE: RenderOptions = { release: 'storage-probe', namespace: 'storage-probe' };
/** Enables every feature that is disabled by default. */
const EVERYTHING = {
  replicaCount: 2,
  rbac: { aggregate: true },
  webIdentity: { enabled: true, audience: 'minio', stsEndpoints: ['http://minio:9000'] },
  networkPolicy: { enabled: true },
  serviceMonitor: { enabled: true },
  prometheusRule: { enabled: true },
  grafanaDashboard: { enabled: true },
};
const { kube } = inject('servers');

interface PodSpec {
  readonly containers: readonly [Container];
  readonly [field: string]: unknown;
}

interface Container {
  readonly image: string;
  readonly args: readonly string[];
  readonly env?: readonly { readonly name: string }[];
}

interface Deployment extends Manifest {
  readonly spec: { readonly template: { readonly metadata: Manifest['metadata']; readonly spec: PodSpec } };
}

/** A query in a dashboard panel. */
interface DashboardTarget {
  readonly expr: string;
  readonly legendFormat: string;
}

beforeAll(async () => {
  for (const name of ['servicemonitors', 'prometheusrules'])
    await applyManifests(kube, await readFile(new URL(`crds/${name}.yaml`, import.meta.url), 'utf8'));
});

function render(values: object = {}, options: RenderOptions = RELEASE): Promise<Manifest[]> {
  return renderChart(CHART, values, options);
}

async function renderOne<T extends Manifest>(kind: string, values: object = {}): Promise<T> {
  const found = (await render(values)).filter((manifest) => manifest.kind === kind);
  expect(found).toHaveLength(1);
  return found[0] as T;
}

async function operatorPod(values: object = {}): Promise<PodSpec> {
  return (await renderOne<Deployment>('Deployment', values)).spec.template.spec;
}

async function operatorContainer(values: object = {}): Promise<Container> {
  return (await operatorPod(values)).containers[0];
}

function kindsAndNames(manifests: readonly Manifest[]): string[] {
  return manifests.map(({ kind, metadata: { name } }) => `${kind} ${name}`).toSorted();
}

/** Sets the value at a dotted path, such as `a.b`, in a copy of `values`. */
function withValue(values: object, path: string, value: unknown): object {
  const [first = '', ...rest] = path.split('.');
  const members = { ...values } as Record<string, unknown>;
  members[first] = rest.length === 0 ? value : withValue(members[first] ?? {}, rest.join('.'), value);
  return members;
}

describe('rendered manifests', () => {
  it('contain the operator, its RBAC, its Service and the test pod by default', async () => {
    expect(kindsAndNames(await render())).toEqual([
      'ClusterRole storage-probe',
      'ClusterRoleBinding storage-probe',
      'CustomResourceDefinition storageprobes.storageprobe.dev',
      'Deployment storage-probe',
      'FlowSchema storage-probe-leader-election',
      'Pod storage-probe-test',
      'Role storage-probe-leader-election',
      'RoleBinding storage-probe-leader-election',
      'Service storage-probe',
      'ServiceAccount storage-probe',
    ]);
  });

  it('pass helm lint, with defaults and with everything enabled', async () => {
    expect(await lintChart(CHART)).toContain('0 chart(s) failed');
    expect(await lintChart(CHART, EVERYTHING)).toContain('0 chart(s) failed');
  });

  it('have the version and the CRD of the program', async () => {
    const chart = parse(await readFile(join(chartPath(CHART), 'Chart.yaml'), 'utf8')) as object;
    expect(chart).toMatchObject({ appVersion: packageJson.version });
    const rendered = await renderOne('CustomResourceDefinition');
    expect(rendered['spec']).toEqual((parse(crdYaml()) as Manifest)['spec']);
    expect(rendered.metadata.annotations).toEqual({ 'helm.sh/resource-policy': 'keep' });
  });

  it('match deploy/install.yaml, for installation without Helm', async () => {
    const committed = await readFile(new URL('deploy/install.yaml', ROOT), 'utf8');
    expect(committed, 'out of date; run: npm run generate').toBe(await installManifests());
    expect(committed).not.toMatch(/helm/i);
  });

  it('have names of valid length that differ between releases', async () => {
    const release = 'a'.repeat(53);
    const names = (await render(EVERYTHING, { release, namespace: 'a' })).map(
      ({ metadata }) => metadata.name,
    );
    expect(Math.max(...names.map(({ length }) => length))).toBeLessThanOrEqual(63);
    const others = await render(EVERYTHING, { release: 'other', namespace: 'a' });
    expect(kindsAndNames(others)).toContain('Deployment other-storage-probe');
  });

  it('quote strings that look like numbers', async () => {
    const values = {
      ...EVERYTHING,
      // Not appended to the release name, because that name already contains it.
      nameOverride: 'e',
      watchNamespaces: ['7001'],
      serviceAccount: { name: '7002' },
      priorityClassName: '7003',
      otlp: {
        headersSecretRef: { name: '7004', key: '7005' },
        ca: { secretRef: { name: '7006', key: '7007' } },
      },
      serviceMonitor: { enabled: true, namespace: '7008' },
      prometheusRule: { enabled: true, namespace: '7009' },
      grafanaDashboard: { enabled: true, namespace: '7010' },
    };
    const text = JSON.stringify(await render(values, { release: '7e3', namespace: '7011' }));
    expect(text).not.toMatch(/[:[,]7\d{3}[,}\]]/);
    const given = JSON.stringify(values).match(/"7\d{3}"/g) ?? [];
    expect([...given, '"7e3"', '"7011"'].filter((name) => !text.includes(name))).toEqual([]);
  });

  it('prefer specific labels and annotations to common ones', async () => {
    const labels = {
      release: 'own',
      'app.kubernetes.io/version': 'theirs',
      'app.kubernetes.io/name': 'theirs',
    };
    const annotations = {
      'helm.sh/resource-policy': 'delete',
      'kubectl.kubernetes.io/default-container': 'mesh',
      'checksum/otlp-ca': 'none',
    };
    const rendered = await render({
      ...EVERYTHING,
      commonLabels: { release: 'common', team: 'storage', 'app.kubernetes.io/version': 'common' },
      podLabels: { release: 'pod' },
      podAnnotations: annotations,
      crds: { annotations },
      otlp: { ca: { bundle: '-----BEGIN CERTIFICATE-----' } },
      service: { labels },
      serviceMonitor: { enabled: true, labels },
      prometheusRule: { enabled: true, labels, alertLabels: { severity: 'none' } },
      grafanaDashboard: { enabled: true, labels },
    });
    for (const { kind, metadata } of rendered) {
      const hasOwnLabels =
        /^(Service|ServiceMonitor|PrometheusRule|ConfigMap)$/.test(kind) && !metadata.name.endsWith('-ca');
      expect(metadata.labels).toMatchObject({
        release: hasOwnLabels ? 'own' : 'common',
        team: 'storage',
        'app.kubernetes.io/version': packageJson.version,
        'app.kubernetes.io/name': 'storage-probe',
      });
    }
    const find = (kind: string): Manifest | undefined => rendered.find((manifest) => manifest.kind === kind);
    const { template } = (find('Deployment') as Deployment).spec;
    expect(template.metadata.labels).toMatchObject({ release: 'pod', team: 'storage' });
    expect(template.metadata.annotations).toEqual({
      ...annotations,
      'checksum/otlp-ca': expect.stringMatching(/^[0-9a-f]{64}$/) as string,
    });
    expect(find('CustomResourceDefinition')?.metadata.annotations).toEqual({
      ...annotations,
      'helm.sh/resource-policy': 'keep',
    });
    expect(stringify(find('PrometheusRule')?.['spec'])).not.toContain('severity: none');
  });

  it('select pods independently of extra labels and the version', async () => {
    const selector = {
      'app.kubernetes.io/name': 'storage-probe',
      'app.kubernetes.io/instance': 'storage-probe',
      'app.kubernetes.io/component': 'operator',
    };
    const deployment = await renderOne<Deployment>('Deployment', { commonLabels: { team: 'storage' } });
    expect(deployment.spec).toMatchObject({ selector: { matchLabels: selector } });
    expect(deployment.spec.template.metadata.labels).toEqual({ ...selector, team: 'storage' });
    expect(await renderOne('Service')).toMatchObject({ spec: { selector } });
  });
});

describe('values', () => {
  it('each have a sample', () => {
    // No template reads `enabled`, so it has no sample.
    expect([...Object.keys(SAMPLES), 'enabled'].toSorted()).toEqual([...pathsOf(ChartValues)].toSorted());
  });

  it.concurrent.each(Object.entries(SAMPLES))(
    'take effect and render valid manifests: %s',
    async (path, { value, with: others = {} }) => {
      const before = (await render(others)).map((manifest) => stringify(manifest));
      const after = (await render(withValue(others, path, value))).map((manifest) => stringify(manifest));
      expect(after).not.toEqual(before);
      await dryRunApply(after.filter((manifest) => !before.includes(manifest)).join('---\n'));
    },
  );

  it.each([
    {
      name: 'a string instead of a number',
      values: { replicaCount: 'two' },
      line: "'/replicaCount': got string",
    },
    {
      name: 'an unknown value',
      values: { replicas: 2 },
      line: "additional properties 'replicas' not allowed",
    },
    {
      name: 'an unknown nested value',
      values: { otlp: { url: 'http://a' } },
      line: "'/otlp': additional properties 'url' not allowed",
    },
    { name: 'a required value set to null', values: { otlp: null }, line: "missing property 'otlp'" },
    {
      name: 'an unknown log level',
      values: { controller: { logLevel: 'loud' } },
      line: "'/controller/logLevel'",
    },
    { name: 'an incomplete digest', values: { image: { digest: 'sha256:12' } }, line: "'/image/digest'" },
    {
      name: 'an endpoint without a scheme',
      values: { otlp: { endpoint: 'a:4317' } },
      line: "'/otlp/endpoint'",
    },
    {
      name: 'a registry with a scheme',
      values: { image: { registry: 'https://registry.example.com' } },
      line: "'/image/registry'",
    },
    {
      name: 'a tag in the repository',
      values: { image: { repository: 'storageprobe/storage-probe:1.2.3' } },
      line: "'/image/repository'",
    },
    {
      name: 'a host name as an address',
      values: { controller: { allowAddresses: ['localhost'] } },
      line: "'/controller/allowAddresses/0'",
    },
    {
      name: 'a custom endpoint for a pod probe',
      values: { livenessProbe: { httpGet: { path: '/' } } },
      line: "'/livenessProbe': additional properties 'httpGet' not allowed",
    },
    {
      name: 'a pod label that the selector uses',
      values: { podLabels: { 'app.kubernetes.io/name': 'prober' } },
      line: 'podLabels must not contain app.kubernetes.io/name: the pods are selected by this label',
    },
    {
      name: 'a shutdown timeout that is not shorter than the grace period of the pod',
      values: { terminationGracePeriodSeconds: 25 },
      line: 'controller.shutdownTimeout (25s) must be shorter than terminationGracePeriodSeconds (25)',
    },
    {
      name: 'a drain timeout longer than the shutdown timeout',
      values: { controller: { drainTimeout: '26s' } },
      line: 'controller.drainTimeout (26s) must not be longer than controller.shutdownTimeout (25s)',
    },
    {
      name: 'a shutdown timeout above the maximum',
      values: { controller: { shutdownTimeout: '10m1s' }, terminationGracePeriodSeconds: 700 },
      line: 'controller.shutdownTimeout (10m1s) must be between 1s and 10m',
    },
    {
      name: 'a status heartbeat below the minimum',
      values: { controller: { statusHeartbeat: '999ms' } },
      line: 'controller.statusHeartbeat (999ms) must be between 1s and 1h',
    },
    {
      name: 'a status heartbeat above the maximum',
      values: { controller: { statusHeartbeat: '1h1s' } },
      line: 'controller.statusHeartbeat (1h1s) must be between 1s and 1h',
    },
    {
      name: 'duration units in an order that Prometheus rejects',
      values: { serviceMonitor: { interval: '30s1m' } },
      line: "'/serviceMonitor/interval'",
    },
    {
      name: 'an empty duration',
      values: { serviceMonitor: { scrapeTimeout: '' } },
      line: "'/serviceMonitor/scrapeTimeout'",
    },
    {
      name: 'a full name that is not valid for a Service',
      values: { fullnameOverride: '1prober' },
      line: "'/fullnameOverride'",
    },
    {
      name: 'a name that is not valid at the start of a Service name',
      values: { nameOverride: '1prober' },
      line: "'/nameOverride'",
    },
    {
      name: 'a blank CA bundle',
      values: { otlp: { ca: { bundle: ' \n' } } },
      line: "'/otlp/ca/bundle'",
    },
    {
      name: 'an IPv4 address with a number above 255',
      values: { controller: { allowAddresses: ['999.1.1.1'] } },
      line: "'/controller/allowAddresses/0'",
    },
    {
      name: 'an IPv4 prefix that is too long',
      values: { controller: { allowAddresses: ['10.0.0.0/33'] } },
      line: "'/controller/allowAddresses/0'",
    },
    {
      name: 'an IPv6 prefix that is too long',
      values: { controller: { allowAddresses: ['fe80::/129'] } },
      line: "'/controller/allowAddresses/0'",
    },
    {
      name: 'a scrape timeout longer than the scrape interval',
      values: { serviceMonitor: { interval: '5s' } },
      line: 'serviceMonitor.scrapeTimeout (10s) must not be longer than serviceMonitor.interval (5s)',
    },
    {
      name: 'a ServiceMonitor without a Service',
      values: { serviceMonitor: { enabled: true }, service: { enabled: false } },
      line: 'serviceMonitor.enabled requires service.enabled',
    },
    {
      name: 'both limits of the disruption budget',
      values: { podDisruptionBudget: { minAvailable: 1, maxUnavailable: 1 } },
      line: 'podDisruptionBudget: set either minAvailable or maxUnavailable, not both',
    },
    {
      name: 'both sources of the CA',
      values: { otlp: { ca: { bundle: '-----BEGIN CERTIFICATE-----', secretRef: { name: 'ca' } } } },
      line: 'otlp.ca: set either bundle or secretRef, not both',
    },
    {
      name: 'a web identity for any STS endpoint',
      values: { webIdentity: { enabled: true, audience: 'minio' } },
      line: 'webIdentity.enabled requires webIdentity.audience and webIdentity.stsEndpoints',
    },
    {
      name: 'an STS endpoint with a path',
      values: { webIdentity: { stsEndpoints: ['https://sts.example.com/path'] } },
      line: "'/webIdentity/stsEndpoints/0'",
    },
  ])('reject $name in one line', async ({ values, line }) => {
    const outcome = await render(values).then(
      () => 'accepted',
      (error: unknown) => String(error),
    );
    expect(outcome.split('\n').filter((printed) => printed.includes(line))).toHaveLength(1);
  });

  it('of a parent chart can disable the chart', async () => {
    await using parent = await mkdtempDisposable(join(tmpdir(), 'storage-probe-parent-'));
    const { version } = parse(await readFile(join(chartPath(CHART), 'Chart.yaml'), 'utf8')) as {
      version: string;
    };
    const dependencies = [{ name: CHART, version, condition: `${CHART}.enabled` }];
    await cp(chartPath(CHART), join(parent.path, 'charts', CHART), { recursive: true });
    await writeFile(
      join(parent.path, 'Chart.yaml'),
      stringify({ apiVersion: 'v2', name: 'parent', version: '1.0.0', dependencies }),
    );
    const [on, off] = await Promise.all(
      [true, false].map((enabled) => runHelm(['template', 'parent', parent.path], { [CHART]: { enabled } })),
    );
    expect(on).toContain('kind: Deployment');
    expect(off).not.toContain('kind:');
  });

  it('of a parent chart can have other global values', async () => {
    expect(
      (await operatorContainer({ global: { imageRegistry: 'a.example.com', other: { x: 1 } } })).image,
    ).toBe(`a.example.com/storageprobe/storage-probe:${packageJson.version}`);
  });
});

describe('the operator', () => {
  it('gets only flags that the program defines', async () => {
    const known = Object.values(FLAGS).map(flagName);
    const { args } = await operatorContainer({
      watchNamespaces: ['a', 'b', 'a'],
      controller: { allowAddresses: ['::1'] },
    });
    expect(args[0]).toBe('controller');
    expect(known).toEqual(expect.arrayContaining(args.slice(1).map((arg) => arg.replace(/=.+$/, ''))));
    expect(args).toEqual(expect.arrayContaining(['--watch-namespaces=a,b', '--allow-addresses=::1']));
  });

  it('uses the tag of the image, or the digest if it is set', async () => {
    const digest = `sha256:${'1'.repeat(64)}`;
    expect((await operatorContainer()).image).toBe(
      `ghcr.io/storageprobe/storage-probe:${packageJson.version}`,
    );
    const image = { registry: 'r.example.com:5000', tag: 'x' };
    const global = { imageRegistry: 'other.example.com' };
    expect((await operatorContainer({ image, global })).image).toBe(
      'r.example.com:5000/storageprobe/storage-probe:x',
    );
    expect((await operatorContainer({ image: { ...image, digest } })).image).toBe(
      `r.example.com:5000/storageprobe/storage-probe@${digest}`,
    );
  });

  it('sends traces only if an endpoint is set', async () => {
    expect((await operatorContainer()).env?.filter(({ name }) => name.startsWith('OTEL_EXPORTER'))).toEqual(
      [],
    );
    const endpoint = 'https://collector:4317';
    const { env } = await operatorContainer({
      otlp: {
        endpoint,
        headersSecretRef: { name: 'otlp' },
        ca: { secretRef: { name: 'otlp-ca' } },
        resourceAttributes: { 'deployment.environment.name': 'a, b' },
      },
    });
    expect(env?.filter(({ name }) => name.startsWith('OTEL'))).toEqual([
      { name: 'OTEL_EXPORTER_OTLP_ENDPOINT', value: endpoint },
      { name: 'OTEL_EXPORTER_OTLP_PROTOCOL', value: 'grpc' },
      {
        name: 'OTEL_EXPORTER_OTLP_HEADERS',
        valueFrom: { secretKeyRef: { name: 'otlp', key: 'headers' } },
      },
      { name: 'OTEL_EXPORTER_OTLP_CERTIFICATE', value: '/etc/storage-probe/otlp-ca/ca.crt' },
      {
        name: 'OTEL_RESOURCE_ATTRIBUTES',
        value: expect.stringMatching(/,deployment\.environment\.name=a%2C%20b$/) as string,
      },
    ]);
  });

  it("adds the pod's place in Kubernetes to the traces, unless the values set it", async () => {
    const names = ['K8S_NAMESPACE_NAME', 'K8S_NODE_NAME', 'K8S_POD_NAME', 'K8S_POD_UID'];
    const { env } = await operatorContainer({
      otlp: { resourceAttributes: { 'k8s.node.name': '$(HOME)', 'a=b': 'c' } },
      extraEnv: [{ name: 'K8S_POD_UID', value: 'mine' }],
    });
    // Kubernetes replaces $(NAME) only with variables that come earlier in the list.
    expect(env?.map(({ name }) => name)).toEqual([...names, 'OTEL_RESOURCE_ATTRIBUTES']);
    expect(env).toEqual(
      expect.arrayContaining([
        { name: 'K8S_POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
        { name: 'K8S_POD_UID', value: 'mine' },
        {
          name: 'OTEL_RESOURCE_ATTRIBUTES',
          value: [
            'k8s.container.name=operator',
            'k8s.deployment.name=storage-probe',
            'k8s.namespace.name=$(K8S_NAMESPACE_NAME)',
            'k8s.pod.name=$(K8S_POD_NAME)',
            'k8s.pod.uid=$(K8S_POD_UID)',
            'service.instance.id=$(K8S_NAMESPACE_NAME).$(K8S_POD_NAME).operator',
            'a%3Db=c',
            'k8s.node.name=%24%28HOME%29',
          ].join(','),
        },
      ]),
    );
  });

  it('leaves OTEL_RESOURCE_ATTRIBUTES to extraEnv if it is there', async () => {
    const own = { name: 'OTEL_RESOURCE_ATTRIBUTES', value: 'team=sre' };
    const { env } = await operatorContainer({ extraEnv: [own] });
    expect(env?.filter(({ name }) => name === own.name)).toEqual([own]);
  });

  it.each(['startupProbe', 'livenessProbe', 'readinessProbe'])(
    'omits its %s if the value is null',
    async (name) => {
      expect(await operatorContainer()).toHaveProperty(name);
      expect(await operatorContainer({ [name]: null })).not.toHaveProperty(name);
    },
  );

  it('restarts when the CA bundle changes', async () => {
    const [first, second] = await Promise.all(
      ['AA==', 'AB=='].map(async (body) => {
        const ca = { bundle: `-----BEGIN CERTIFICATE-----\n${body}` };
        const deployment = await renderOne<Deployment>('Deployment', { otlp: { ca } });
        return deployment.spec.template.metadata.annotations?.['checksum/otlp-ca'];
      }),
    );
    expect(first).toMatch(/^[0-9a-f]{64}$/);
    expect(second).not.toBe(first);
  });

  it('spreads the pods of its release across nodes and zones', async () => {
    const own = { labelSelector: { matchLabels: { 'app.kubernetes.io/component': 'operator' } } };
    expect(await operatorPod()).toMatchObject({
      topologySpreadConstraints: [
        { topologyKey: 'kubernetes.io/hostname', ...own },
        { topologyKey: 'topology.kubernetes.io/zone', ...own },
      ],
    });
  });

  it('has a PodDisruptionBudget if there is more than one replica', async () => {
    expect(kindsAndNames(await render())).not.toContain('PodDisruptionBudget storage-probe');
    expect(await renderBudget({})).toMatchObject({ spec: { maxUnavailable: 1 } });
    expect(await renderBudget({ maxUnavailable: 0 })).toMatchObject({ spec: { maxUnavailable: 0 } });
    expect((await renderBudget({ minAvailable: 1 }))['spec']).not.toHaveProperty('maxUnavailable');
  });

  it('may connect only to DNS, the API server, the stores and the Collector', async () => {
    const policy = await renderOne('NetworkPolicy', {
      tests: { enabled: false },
      networkPolicy: {
        enabled: true,
        ingressFrom: [{ namespaceSelector: {} }],
        apiServer: { to: [{ ipBlock: { cidr: '10.0.0.1/32' } }] },
      },
    });
    expect(policy['spec']).toMatchObject({
      policyTypes: ['Ingress', 'Egress'],
      ingress: [
        {
          ports: [{ port: 'http' }],
          from: [
            { namespaceSelector: {} },
            { podSelector: { matchLabels: { 'app.kubernetes.io/component': 'test' } } },
          ],
        },
      ],
      egress: [
        {
          ports: [
            { port: 53, protocol: 'UDP' },
            { port: 53, protocol: 'TCP' },
          ],
        },
        { ports: [{ port: 443 }, { port: 6443 }], to: [{ ipBlock: { cidr: '10.0.0.1/32' } }] },
        { ports: [{ port: 80 }, { port: 443 }, { port: 9000 }] },
        { ports: [{ port: 4317 }, { port: 4318 }] },
      ],
    });
  });

  it('lets its test pod connect only to DNS and the operator', async () => {
    const policies = (await render({ networkPolicy: { enabled: true } })).filter(
      ({ kind }) => kind === 'NetworkPolicy',
    );
    expect(policies).toHaveLength(2);
    expect(policies[1]).toMatchObject({
      metadata: { name: 'storage-probe-test' },
      spec: {
        podSelector: { matchLabels: { 'app.kubernetes.io/component': 'test' } },
        policyTypes: ['Ingress', 'Egress'],
        egress: [
          { ports: [{ port: 53 }, { port: 53 }] },
          {
            ports: [{ port: 8080 }],
            to: [{ podSelector: { matchLabels: { 'app.kubernetes.io/component': 'operator' } } }],
          },
        ],
      },
    });
    expect(policies[1]?.['spec']).not.toHaveProperty('ingress');
  });

  it('has install notes with the next commands and the missing settings', async () => {
    const notes = await renderNotes({ watchNamespaces: ['storage'], crds: { enabled: false } });
    expect(notes).toContain('kubectl -n monitoring rollout status deployment/prober-storage-probe');
    // bash requires the end marker at the margin.
    const [, probe = ''] = /^kubectl apply -f - <<'YAML'\n([^]*?)\nYAML$/m.exec(notes) ?? [];
    expect(parse(probe)).toMatchObject({ kind: 'StorageProbe', metadata: { namespace: 'storage' } });
    expect(notes).toContain('No traces are sent');
    expect(notes).toContain('The CustomResourceDefinition is not part of this release');
    expect(await renderNotes({ otlp: { endpoint: 'http://collector:4317' } })).not.toContain('No traces');
  });
});

describe('the API server', () => {
  it.each([
    { name: 'the default manifests', values: {} },
    { name: 'the manifests with everything enabled', values: EVERYTHING },
    { name: 'permissions in two namespaces', values: { watchNamespaces: ['storage', 'archive'] } },
  ])('accepts $name', async ({ values }) => {
    await expect(dryRunApply(toYaml(await render(values)))).resolves.toBeUndefined();
  });

  it('accepts deploy/install.yaml', async () => {
    await expect(dryRunApply(await installManifests())).resolves.toBeUndefined();
  });

  it('has the priority level of the FlowSchema', async () => {
    const { spec } = (await renderOne('FlowSchema')) as unknown as {
      spec: { priorityLevelConfiguration: { name: string } };
    };
    const path = `/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations/${spec.priorityLevelConfiguration.name}`;
    expect(await requestKube(kube, { path })).toMatchObject({ status: 200 });
  });

  it('rejects an unknown field', async () => {
    const service = await renderOne('Service');
    await expect(dryRunApply(stringify({ ...service, spec: { port: 1 } }))).rejects.toThrow(
      '.spec.port: field not declared',
    );
  });

  it('accepts the pods in a namespace that enforces the restricted standard', async () => {
    const namespace = uniqueName('chart-restricted');
    const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
    await applyManifests(
      kube,
      stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels } }),
    );
    const test = await renderOne('Pod');
    const specs = [await operatorPod(), test['spec'] as PodSpec];
    for (const spec of specs) {
      expect(await createPod(namespace, spec)).toMatchObject({ status: 201 });
      const asRoot = { ...spec, securityContext: { runAsUser: 0 } };
      expect(await createPod(namespace, asRoot)).toMatchObject({ status: 403 });
      expect(spec.containers[0]).toMatchObject({ securityContext: { readOnlyRootFilesystem: true } });
    }
  });

  it('grants the operator only the permissions that it needs, in all namespaces', async () => {
    const { own, allowed } = await install({});
    const elsewhere = uniqueName('chart-elsewhere');
    expect(await allowed(own)).toEqual([...RUN_PERMISSIONS, ...LEASE_PERMISSIONS]);
    expect(await allowed(elsewhere)).toEqual(RUN_PERMISSIONS);
  });

  it('grants the operator permissions only in its watched namespaces', async () => {
    const watched = [uniqueName('chart-watched'), uniqueName('chart-watched')];
    const { own, allowed } = await install({ watchNamespaces: [...watched, ...watched] });
    for (const namespace of watched) expect(await allowed(namespace)).toEqual(RUN_PERMISSIONS);
    expect(await allowed(own)).toEqual(LEASE_PERMISSIONS);
    expect(await allowed(uniqueName('chart-elsewhere'))).toEqual([]);
  });
});

describe('rules, dashboard and ServiceMonitor', () => {
  it('query only metrics that exist', async () => {
    const rules = await renderAllRules({});
    const recorded = rules.flatMap(({ record = [] }) => record);
    const page = await readFile(new URL('docs/reference/metrics.md', ROOT), 'utf8');
    const known = [...page.matchAll(/^\| `(\w+)`/gm)].map(([, name = '']) => name);
    const queried = [...rules, ...(await dashboardTargets())].flatMap(({ expr }) => expr.match(METRIC) ?? []);
    expect(queried.length).toBeGreaterThan(40);
    const families = queried.map((name) => name.replace(/_(bucket|sum|count)$/, ''));
    expect([...recorded, ...known]).toEqual(expect.arrayContaining(families));
  });

  it('distinguish targets with the same name', async () => {
    const targets = await dashboardTargets();
    const grouped = targets.flatMap(({ expr }) => expr.match(/by \([^)]*\btarget\b[^)]*\)/g) ?? []);
    expect(grouped.length).toBeGreaterThan(10);
    expect(grouped.filter((by) => !by.startsWith('by (namespace, probe, target'))).toEqual([]);
    const legends = targets
      .map(({ legendFormat }) => legendFormat)
      .filter((legend) => legend.includes('{{target}}'));
    expect(legends.length).toBeGreaterThan(5);
    expect(legends.filter((legend) => !legend.startsWith('{{namespace}}/{{probe}} {{target}}'))).toEqual([]);
  });

  it('show only the leader election of the operator', async () => {
    const leading = (await dashboardTargets()).filter(({ expr }) => expr.includes('leader_election'));
    expect(leading.map(({ expr }) => expr)).toEqual([
      'leader_election_master_status and on (pod) storage_probe_build_info',
    ]);
  });

  it('have all alerts enabled by default, and each can be disabled', async () => {
    const names = (await renderAllRules({})).flatMap(({ alert = [] }) => alert);
    expect(names).toEqual([
      'StorageProbeFailing',
      'StorageProbeStale',
      'StorageProbeUnknown',
      'StorageProbeSlow',
      'StorageProbeCertificateExpires',
      'StorageProbeSpansDropped',
      'StorageProbeNoLeader',
      'StorageProbeNamespaceForbidden',
    ]);
    const rest = await renderAllRules({ alerts: { slow: { enabled: false }, noLeader: { enabled: false } } });
    expect(rest.map(({ alert, record }) => alert ?? record)).toEqual(
      names.filter((name) => !/Slow|NoLeader/.test(name)),
    );
  });

  it('watch only the Lease of this release', async () => {
    const rules = await renderAllRules({});
    expect(rules.find(({ alert }) => alert === 'StorageProbeNoLeader')?.expr).toBe(
      '(sum(leader_election_master_status{name="storage-probe", namespace="storage-probe"}) or vector(0)) == 0',
    );
  });

  it('keep the namespace label of the probe', async () => {
    const monitor = await renderOne('ServiceMonitor', { serviceMonitor: { enabled: true } });
    expect(monitor).toMatchObject({ spec: { endpoints: [{ port: 'http', honorLabels: true }] } });
  });
});

/** Names of the operator's metrics and recorded series in PromQL. */
const METRIC = /\b(?:target_step:)?(?:storage_probe|leader_election|rest_client)_[\w:]+/g;
async function install(
  values: object,
): Promise<{ own: string; allowed: (namespace: string) => Promise<string[]> }> {
  const release = uniqueName('chart');
  const rendered = await render({ ...values, fullnameOverride: release }, { release, namespace: release });
  await applyManifests(kube, toYaml(rendered.filter(({ apiVersion }) => apiVersion.startsWith('rbac.'))));
  const user = `system:serviceaccount:${release}:${release}`;

  async function isAllowed(namespace: string, right: Permission): Promise<boolean> {
    const { status } = await requestKubeBody<{ status: { allowed: boolean } }>(kube, {
      method: 'POST',
      path: '/apis/authorization.k8s.io/v1/subjectaccessreviews',
      body: {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SubjectAccessReview',
        spec: { user, resourceAttributes: resourceAttributes(right, namespace, release) },
      },
    });
    return status.allowed;
  }
  async function allowed(namespace: string): Promise<string[]> {
    const rights = [...RUN_PERMISSIONS, ...LEASE_PERMISSIONS, ...FORBIDDEN_PERMISSIONS];
    const answers = await Promise.all(rights.map((right) => isAllowed(namespace, right)));
    return rights.filter((_, index) => answers[index]);
  }
  return { own: release, allowed };
}

/** Has the API server validate the objects without storing them. */
function dryRunApply(text: string): Promise<void> {
  return applyManifests(kube, text, { dryRun: true });
}

function toYaml(manifests: readonly Manifest[]): string {
  return manifests.map((manifest) => stringify(manifest)).join('---\n');
}

function createPod(namespace: string, spec: PodSpec): ReturnType<typeof requestKube> {
  return requestKube(kube, {
    method: 'POST',
    path: `/api/v1/namespaces/${namespace}/pods?dryRun=All&fieldValidation=Strict`,
    body: { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a' }, spec },
  });
}

async function renderAllRules(values: object): Promise<readonly Rule[]> {
  const { groups } = await renderRules(values, RELEASE);
  return groups.flatMap(({ rules }) => rules);
}

async function dashboardTargets(): Promise<readonly DashboardTarget[]> {
  const rendered = await renderOne('ConfigMap', { grafanaDashboard: { enabled: true } });
  const { 'storage-probe.json': text } = rendered['data'] as { 'storage-probe.json': string };
  const { panels } = JSON.parse(text) as { panels: readonly { targets?: readonly DashboardTarget[] }[] };
  return panels.flatMap(({ targets = [] }) => targets);
}

function renderBudget(values: object): Promise<Manifest> {
  return renderOne('PodDisruptionBudget', { replicaCount: 2, podDisruptionBudget: values });
}

/** The notes that `helm install` prints. */
async function renderNotes(values: object): Promise<string> {
  const output = await runHelm(
    ['install', 'prober', chartPath(CHART), '--namespace=monitoring', '--dry-run=client'],
    values,
  );
  return output.slice(output.indexOf('\nNOTES:\n'));
}

/** The paths of all values that are not objects with known fields. */
function* pathsOf(schema: z.core.$ZodType, path = ''): Generator<string> {
  const field = unwrap(schema);
  const members = field instanceof z.ZodObject ? Object.entries<z.core.$ZodType>(field.shape) : [];
  if (members.length === 0) yield path;
  for (const [name, member] of members) yield* pathsOf(member, path === '' ? name : `${path}.${name}`);
}
