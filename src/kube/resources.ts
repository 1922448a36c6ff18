import type { KubeClient } from './kube-client.ts';
import {
  apiVersionOf,
  type KubeObject,
  type ResourceLocation,
  resourcePath,
  type ResourceType,
} from './objects.ts';

/** Name of an object. Cluster-scoped objects have no namespace. */
export interface ObjectName {
  readonly namespace?: string | undefined;
  readonly name: string;
}

export interface ListOptions {
  /** Default: all namespaces. */
  readonly namespace?: string | undefined;
  /** Maximum number of items per page. */
  readonly limit?: number | undefined;
  /** Continue token of the previous page. */
  readonly continue?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Default: the client's default. */
  readonly timeoutMs?: number | undefined;
}

export interface ListPage<T extends KubeObject> {
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
  /** Without `apiVersion` and `kind`, which the API server omits in lists. */
  readonly items: T[];
}

export interface WriteOptions {
  /** Field manager, recorded in `metadata.managedFields`. */
  readonly fieldManager?: string | undefined;
  readonly subresource?: string | undefined;
}

export interface ApplyOptions {
  /** Owner of the applied fields. */
  readonly fieldManager: string;
  /** If true, takes ownership of fields from other managers. Default true, as recommended for controllers. */
  readonly force?: boolean;
}

/** The fields to own. Previously owned fields that are now absent are removed. */
export interface ApplyConfiguration extends Pick<KubeObject, 'metadata'> {
  readonly spec?: unknown;
  readonly status?: unknown;
  readonly data?: unknown;
}

/** Like all helpers here, throws what `client.request` throws. */
export function getObject<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType,
  { namespace, name }: ObjectName,
  signal: AbortSignal,
): Promise<T> {
  return client.request<T>({ method: 'GET', path: resourcePath(type, { namespace, name }) }, signal);
}

export function listPage<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType,
  { namespace, timeoutMs, ...query }: ListOptions,
  signal: AbortSignal,
): Promise<ListPage<T>> {
  const path = resourcePath(type, { namespace });
  return client.request(
    { method: 'GET', path, query, ...(timeoutMs !== undefined && { timeoutMs }) },
    signal,
  );
}

export function createObject<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType,
  object: T,
  signal: AbortSignal,
  { fieldManager }: WriteOptions = {},
): Promise<T> {
  const path = resourcePath(type, { namespace: object.metadata.namespace });
  return client.request<T>(
    { method: 'POST', path, query: { fieldManager }, body: withType(type, object) },
    signal,
  );
}

/** Fails with `Conflict` if `object.metadata.resourceVersion` is stale. */
export function replaceObject<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType,
  object: T,
  signal: AbortSignal,
  { fieldManager, subresource }: WriteOptions = {},
): Promise<T> {
  const path = resourcePath(type, locationOf(object, subresource));
  return client.request<T>(
    { method: 'PUT', path, query: { fieldManager }, body: withType(type, object) },
    signal,
  );
}

/** @param patch a JSON merge patch: null removes a member, and a list replaces the whole list. */
export function patchObject<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType,
  { namespace, name }: ObjectName,
  patch: object,
  signal: AbortSignal,
  { fieldManager, subresource }: WriteOptions = {},
): Promise<T> {
  return client.request<T>(
    {
      method: 'PATCH',
      path: resourcePath(type, { namespace, name, subresource }),
      query: { fieldManager },
      body: patch,
      contentType: 'application/merge-patch+json',
    },
    signal,
  );
}

/**
 * Server-side apply: creates or updates the object. If `metadata.uid` is set, it only updates the object with that UID:
 * it fails with `Conflict` if the object does not exist, and with `Invalid` if the object was recreated.
 */
export function applyObject<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType,
  object: ApplyConfiguration,
  options: ApplyOptions,
  signal: AbortSignal,
): Promise<T> {
  return apply(client, type, object, undefined, options, signal);
}

/**
 * Server-side apply to the status. Fails with `NotFound` if the object does not exist. The API server ignores
 * `metadata.uid` for the status of a custom resource. Set `metadata.resourceVersion` to fail with `Conflict` if the
 * object was changed or recreated.
 */
export function applyStatus<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType,
  object: ApplyConfiguration,
  options: ApplyOptions,
  signal: AbortSignal,
): Promise<T> {
  return apply(client, type, object, 'status', options, signal);
}

/**
 * @param uid precondition: fails with `Conflict` if the object was recreated, and so has a different `metadata.uid`.
 */
export async function deleteObject(
  client: KubeClient,
  type: ResourceType,
  { namespace, name }: ObjectName,
  signal: AbortSignal,
  { uid }: { readonly uid?: string } = {},
): Promise<void> {
  const path = resourcePath(type, { namespace, name });
  const body = {
    apiVersion: 'v1',
    kind: 'DeleteOptions',
    ...(uid !== undefined && { preconditions: { uid } }),
  };
  await client.request({ method: 'DELETE', path, body }, signal);
}

function apply<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType,
  object: ApplyConfiguration,
  subresource: string | undefined,
  { fieldManager, force = true }: ApplyOptions,
  signal: AbortSignal,
): Promise<T> {
  return client.request<T>(
    {
      method: 'PATCH',
      path: resourcePath(type, locationOf(object, subresource)),
      query: { fieldManager, force },
      body: withType(type, object),
      // JSON is valid YAML.
      contentType: 'application/apply-patch+yaml',
    },
    signal,
  );
}

function locationOf(
  { metadata: { namespace, name } }: Pick<KubeObject, 'metadata'>,
  subresource: string | undefined,
): ResourceLocation {
  return { namespace, name, subresource };
}

/** Sets `apiVersion` and `kind`, which objects from a list lack. */
function withType<T extends object>(type: ResourceType, object: T): T & { apiVersion: string; kind: string } {
  return { ...object, apiVersion: apiVersionOf(type), kind: type.kind };
}
