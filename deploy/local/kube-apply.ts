import { setTimeout as delay } from 'node:timers/promises';
import { parseAllDocuments } from 'yaml';

import type { KubeAccess } from './control-plane.ts';
import { requestKube, requestKubeBody } from './kube-api.ts';

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

interface CustomResourceDefinition extends Manifest {
  readonly spec: {
    readonly group: string;
    readonly names: { readonly kind: string };
    readonly versions: readonly { readonly name: string; readonly served: boolean }[];
  };
}

/** The fields of an `APIResourceList` item that are used here. */
interface ApiResource {
  /** The plural name. It contains a slash for a subresource. */
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

export interface ApplyOptions {
  /** Namespace for namespaced documents that do not set a namespace. Default `default`. */
  readonly namespace?: string | undefined;
  /** If true, the API server validates the documents without storing them. Missing namespaces are created even then. */
  readonly dryRun?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

const FIELD_MANAGER = 'storage-probe-local';
const SERVED_DEADLINE_MS = 10_000;
const POLL_MS = 50;

/**
 * Applies all documents in `yamlText` in order, as the admin, using server-side apply with strict validation. Creates
 * missing namespaces. After a CustomResourceDefinition, waits until its resource is served.
 *
 * @throws Error with the API server's message. Documents that were applied before the error stay applied.
 */
export async function applyManifests(
  access: KubeAccess,
  yamlText: string,
  { namespace = 'default', dryRun = false, signal }: ApplyOptions = {},
): Promise<void> {
  for (const manifest of parseManifests(yamlText)) {
    const resource = await findResource(access, manifest, signal);
    if (resource === undefined)
      throw new Error(`the API server does not serve ${manifest.kind} in ${manifest.apiVersion}`);
    await applyManifest(access, manifest, { resource, namespace, dryRun, signal });
    if (isDefinition(manifest) && !dryRun) await waitUntilServed(access, manifest, signal);
  }
}

function parseManifests(yamlText: string): Manifest[] {
  return [...parseAllDocuments(yamlText)].flatMap((document) => {
    if (document.errors[0] !== undefined) throw document.errors[0];
    const manifest: Manifest | null = document.toJS();
    return manifest === null ? [] : [manifest];
  });
}

/** Returns undefined if the API server does not serve the kind. */
async function findResource(
  access: KubeAccess,
  { apiVersion, kind }: Pick<Manifest, 'apiVersion' | 'kind'>,
  signal: AbortSignal | undefined,
): Promise<ApiResource | undefined> {
  const { body } = await requestKube(access, { path: groupPath(apiVersion) }, signal);
  const { resources = [] } = body as { resources?: ApiResource[] };
  return resources.find((resource) => resource.kind === kind && !resource.name.includes('/'));
}

async function applyManifest(
  access: KubeAccess,
  manifest: Manifest,
  options: { resource: ApiResource; namespace: string; dryRun: boolean; signal: AbortSignal | undefined },
): Promise<void> {
  const { name, namespace = options.namespace } = manifest.metadata;
  const { resource, dryRun, signal } = options;
  if (resource.namespaced) await createNamespace(access, namespace, signal);
  const namespacePath = resource.namespaced ? `/namespaces/${namespace}` : '';
  const path = `${groupPath(manifest.apiVersion)}${namespacePath}/${resource.name}/${name}`;
  await requestKubeBody(
    access,
    {
      method: 'PATCH',
      path: `${path}?fieldManager=${FIELD_MANAGER}&force=true&fieldValidation=Strict${dryRun ? '&dryRun=All' : ''}`,
      // JSON is valid YAML.
      contentType: 'application/apply-patch+yaml',
      body: manifest,
    },
    signal,
  );
}

/** Creates a namespace unless it exists. */
export async function createNamespace(access: KubeAccess, name: string, signal?: AbortSignal): Promise<void> {
  const path = '/api/v1/namespaces';
  if ((await requestKube(access, { path: `${path}/${name}` }, signal)).status === 200) return;
  const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
  const { status } = await requestKube(access, { method: 'POST', path, body }, signal);
  // 409: another process has created the namespace in the meantime.
  if (status !== 201 && status !== 409) throw new Error(`creating namespace ${name} failed: HTTP ${status}`);
}

function isDefinition(manifest: Manifest): manifest is CustomResourceDefinition {
  return manifest.kind === 'CustomResourceDefinition';
}

async function waitUntilServed(
  access: KubeAccess,
  { spec: { group, names, versions } }: CustomResourceDefinition,
  signal: AbortSignal | undefined,
): Promise<void> {
  const deadline = AbortSignal.timeout(SERVED_DEADLINE_MS);
  const waiting = signal === undefined ? deadline : AbortSignal.any([signal, deadline]);
  for (const { name } of versions.filter(({ served }) => served)) {
    const wanted = { apiVersion: `${group}/${name}`, kind: names.kind };
    while ((await findResource(access, wanted, waiting)) === undefined)
      await delay(POLL_MS, undefined, { signal: waiting });
  }
}

function groupPath(apiVersion: string): string {
  return apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
}
