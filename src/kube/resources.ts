import type { KubeClient } from './kube-client.ts';
import {
  apiVersionOf,
  type KubeObject,
  type ResourceLocation,
  resourcePath,
  type ResourceType,
} from './objects.ts';

/** Which object: cluster-scoped ones have no namespace. */
export interface ObjectName {
  readonly namespace?: string | undefined;
  readonly name: string;
}

export interface ListOptions {
  /** Absent: all namespaces. */
  readonly namespace?: string | undefined;
  /** Most items of one page. */
  readonly limit?: number | undefined;
  /** From the page before. */
  readonly continue?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Default: the client's. */
  readonly timeoutMs?: number | undefined;
}

export interface ListPage<T extends KubeObject> {
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
  /** Without `apiVersion` and `kind`, which a list has only once. */
  readonly items: T[];
}

export interface WriteOptions {
  /** Who writes, for `metadata.managedFields`. */
  readonly fieldManager?: string | undefined;
  readonly subresource?: string | undefined;
}

export interface ApplyOptions {
  /** Owns the fields that are applied. */
  readonly fieldManager: string;
  /** Takes fields over from other managers. Default true, as is right for a controller. */
  readonly force?: boolean;
}

/** The fields to own. Those that were owned before and are absent now are removed. */
export interface Applied extends Pick<KubeObject, 'metadata'> {
  readonly spec?: unknown;
  readonly status?: unknown;
  readonly data?: unknown;
}

/** All helpers throw what `client.request` throws. */
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
    { method: 'POST', path, query: { fieldManager }, body: typed(type, object) },
    signal,
  );
}

/** Fails with `Conflict` when `object.metadata.resourceVersion` is not the current one. */
export function replaceObject<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType,
  object: T,
  signal: AbortSignal,
  { fieldManager, subresource }: WriteOptions = {},
): Promise<T> {
  const path = resourcePath(type, locationOf(object, subresource));
  return client.request<T>(
    { method: 'PUT', path, query: { fieldManager }, body: typed(type, object) },
    signal,
  );
}

/** @param patch a JSON merge patch: null removes a member, a list replaces the whole list. */
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
 * Server-side apply: makes the object, or its fields. With `metadata.uid` it makes none (`Conflict`) and leaves a
 * namesake alone that was made since (`Invalid`: the uid cannot be changed).
 */
export function applyObject<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType,
  object: Applied,
  options: ApplyOptions,
  signal: AbortSignal,
): Promise<T> {
  return apply(client, type, object, undefined, options, signal);
}

/**
 * Server-side apply to the status; `NotFound` when there is no such object. The status of a custom resource is applied
 * whatever `metadata.uid` says: only `metadata.resourceVersion` keeps it off a namesake, and off any change that was
 * not seen, with `Conflict`.
 */
export function applyStatus<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType,
  object: Applied,
  options: ApplyOptions,
  signal: AbortSignal,
): Promise<T> {
  return apply(client, type, object, 'status', options, signal);
}

/** @param uid only the object with this `metadata.uid`: a namesake made since is left alone, with `Conflict`. */
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
  object: Applied,
  subresource: string | undefined,
  { fieldManager, force = true }: ApplyOptions,
  signal: AbortSignal,
): Promise<T> {
  return client.request<T>(
    {
      method: 'PATCH',
      path: resourcePath(type, locationOf(object, subresource)),
      query: { fieldManager, force },
      body: typed(type, object),
      // JSON is YAML, too.
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

/** An object out of a list does not say what it is. */
function typed<T extends object>(type: ResourceType, object: T): T & { apiVersion: string; kind: string } {
  return { ...object, apiVersion: apiVersionOf(type), kind: type.kind };
}
