import { setTimeout as delay } from 'node:timers/promises';
import { parseAllDocuments } from 'yaml';

import type { KubeAccess } from './control-plane.ts';
import { askKube, askKubeFor } from './kube-api.ts';

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

/** Of an item of `APIResourceList`, what is needed here. */
interface ApiResource {
  /** The plural; with a slash, a subresource. */
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

export interface ApplyOptions {
  /** For documents of namespaced kinds that name none. Default `default`. */
  readonly namespace?: string | undefined;
  /** Have the API server judge the documents, and store none of them; namespaces are made all the same. */
  readonly dryRun?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

const FIELD_MANAGER = 'storage-probe-local';
const SERVED_DEADLINE_MS = 10_000;
const POLL_MS = 50;

/**
 * Applies all documents of a YAML text in their order, as the admin, by server-side apply and with strict validation.
 * Namespaces that they lie in are made; what a CustomResourceDefinition defines is served when this goes on.
 *
 * @throws Error with the API server's own words; the documents before stay applied.
 */
export async function applyManifests(
  access: KubeAccess,
  yamlText: string,
  { namespace = 'default', dryRun = false, signal }: ApplyOptions = {},
): Promise<void> {
  for (const manifest of parseManifests(yamlText)) {
    const resource = await findResource(access, manifest, signal);
    if (resource === undefined)
      throw new Error(`the API server serves no ${manifest.kind} of ${manifest.apiVersion}`);
    await applyManifest(access, manifest, { resource, namespace, dryRun, signal });
    if (isDefinition(manifest) && !dryRun) await untilServed(access, manifest, signal);
  }
}

function parseManifests(yamlText: string): Manifest[] {
  return [...parseAllDocuments(yamlText)].flatMap((document) => {
    if (document.errors[0] !== undefined) throw document.errors[0];
    const manifest: Manifest | null = document.toJS();
    return manifest === null ? [] : [manifest];
  });
}

/** Undefined when the API server does not know such a kind. */
async function findResource(
  access: KubeAccess,
  { apiVersion, kind }: Pick<Manifest, 'apiVersion' | 'kind'>,
  signal: AbortSignal | undefined,
): Promise<ApiResource | undefined> {
  const { body } = await askKube(access, { path: groupPath(apiVersion) }, signal);
  const { resources = [] } = body as { resources?: ApiResource[] };
  return resources.find((resource) => resource.kind === kind && !resource.name.includes('/'));
}

async function applyManifest(
  access: KubeAccess,
  manifest: Manifest,
  to: { resource: ApiResource; namespace: string; dryRun: boolean; signal: AbortSignal | undefined },
): Promise<void> {
  const { name, namespace = to.namespace } = manifest.metadata;
  const { resource, dryRun, signal } = to;
  if (resource.namespaced) await makeNamespace(access, namespace, signal);
  const folder = resource.namespaced ? `/namespaces/${namespace}` : '';
  const path = `${groupPath(manifest.apiVersion)}${folder}/${resource.name}/${name}`;
  await askKubeFor(
    access,
    {
      method: 'PATCH',
      path: `${path}?fieldManager=${FIELD_MANAGER}&force=true&fieldValidation=Strict${dryRun ? '&dryRun=All' : ''}`,
      // JSON is YAML, too.
      contentType: 'application/apply-patch+yaml',
      body: manifest,
    },
    signal,
  );
}

/** Makes it unless it is there; one that is there stays as it is. */
export async function makeNamespace(access: KubeAccess, name: string, signal?: AbortSignal): Promise<void> {
  const path = '/api/v1/namespaces';
  if ((await askKube(access, { path: `${path}/${name}` }, signal)).status === 200) return;
  const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
  const { status } = await askKube(access, { method: 'POST', path, body }, signal);
  // 409: somebody else has made it meanwhile.
  if (status !== 201 && status !== 409)
    throw new Error(`the namespace ${name} could not be made: HTTP ${status}`);
}

function isDefinition(manifest: Manifest): manifest is CustomResourceDefinition {
  return manifest.kind === 'CustomResourceDefinition';
}

async function untilServed(
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
