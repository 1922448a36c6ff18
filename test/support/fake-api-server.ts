import { randomUUID } from 'node:crypto';

import { abortable } from '../../src/kube/abort.ts';
import { type KubeClient, KubeError, type KubeRequest } from '../../src/kube/kube-client.ts';
import type { KubeObject } from '../../src/kube/objects.ts';

export interface FakeWatchEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'ERROR';
  object: KubeObject;
}

interface Watch {
  readonly collection: string;
  readonly name: string | undefined;
  readonly events: FakeWatchEvent[];
  isClosed: boolean;
  wake: () => void;
}

/**
 * An in-memory API server with resource versions, conflicts, merge patches and watches. Schemas and server-side apply
 * are not supported.
 */
export class FakeApiServer {
  readonly #objects = new Map<string, KubeObject>();
  readonly #watches = new Set<Watch>();
  #version = 0;

  /** Creates a client with its own fault hooks. */
  connect(): FakeKubeClient {
    return new FakeKubeClient(this);
  }

  /** @param path path of a named object, as returned by `resourcePath`. */
  get(path: string): KubeObject | undefined {
    return structuredClone(this.#objects.get(path));
  }

  /** Objects in a collection, in creation order. */
  list(collection: string): KubeObject[] {
    const found = [...this.#objects].filter(([path]) => collectionOf(path) === collection);
    return found.map(([, object]) => structuredClone(object));
  }

  /** Creates or replaces an object directly, as another client would. */
  put(path: string, object: object): KubeObject {
    const existing = this.#objects.get(path);
    const { metadata, ...rest } = structuredClone(object) as KubeObject;
    const resourceVersion = String((this.#version += 1));
    const stored = {
      ...rest,
      metadata: { uid: existing?.metadata.uid ?? randomUUID(), ...metadata, resourceVersion },
    };
    this.#objects.set(path, stored);
    this.#notify(path, existing === undefined ? 'ADDED' : 'MODIFIED', stored);
    return structuredClone(stored);
  }

  delete(path: string): void {
    const object = this.#objects.get(path);
    if (object === undefined) throw kubeError(404, 'NotFound');
    this.#objects.delete(path);
    this.#version += 1;
    this.#notify(path, 'DELETED', object);
  }

  /** Closes all open watches. */
  closeWatches(): void {
    for (const watch of this.#watches) {
      watch.isClosed = true;
      watch.wake();
    }
  }

  get watches(): number {
    return this.#watches.size;
  }

  answer(request: KubeRequest): unknown {
    const { method, path, body } = mapCoreEvents(request);
    const given = body as KubeObject | undefined;
    const object = this.#objects.get(path);
    if (method === 'POST' && given !== undefined) {
      const created = `${path}/${given.metadata.name}`;
      if (this.#objects.has(created)) throw kubeError(409, 'AlreadyExists');
      return this.put(created, given);
    }
    if (object === undefined) throw kubeError(404, 'NotFound');
    if (method === 'GET') return structuredClone(object);
    if (method === 'DELETE') {
      this.delete(path);
      return {};
    }
    const version = given?.metadata?.resourceVersion;
    if (version !== undefined && version !== object.metadata.resourceVersion)
      throw kubeError(409, 'Conflict');
    return this.put(path, method === 'PATCH' ? (mergePatch(object, given) as object) : (given ?? {}));
  }

  async *watch({ path, query }: KubeRequest, signal: AbortSignal): AsyncGenerator<FakeWatchEvent> {
    const name = /^metadata\.name=(.*)$/.exec(String(query?.['fieldSelector']))?.[1];
    const watch: Watch = { collection: path, name, events: [], isClosed: false, wake: () => undefined };
    for (const object of query?.['resourceVersion'] === undefined ? this.list(path) : []) {
      if (name === undefined || object.metadata.name === name) watch.events.push({ type: 'ADDED', object });
    }
    this.#watches.add(watch);
    const onAbort = (): void => watch.wake();
    signal.addEventListener('abort', onAbort);
    try {
      for (;;) {
        signal.throwIfAborted();
        const event = watch.events.shift();
        if (event !== undefined) yield event;
        else if (watch.isClosed) return;
        else await new Promise<void>((resolve) => (watch.wake = resolve));
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#watches.delete(watch);
    }
  }

  #notify(path: string, type: FakeWatchEvent['type'], object: KubeObject): void {
    for (const watch of this.#watches) {
      if (watch.collection !== collectionOf(path)) continue;
      if (watch.name !== undefined && watch.name !== object.metadata.name) continue;
      watch.events.push({ type, object: structuredClone(object) });
      watch.wake();
    }
  }
}

/** Hook for requests or responses of a client. See {@link FakeKubeClient.onRequest}. */
export type RequestHook = (request: KubeRequest) => Promise<void> | void;

export class FakeKubeClient implements KubeClient {
  readonly #server: FakeApiServer;
  /** All requests sent, including watches. */
  readonly requests: KubeRequest[] = [];
  /** Called before the server handles the request. Throw or reject to fail the request, or return {@link hang}(). */
  onRequest: RequestHook = () => undefined;
  /** Called after the server has handled the request, before the client gets the response. */
  onResponse: RequestHook = () => undefined;

  constructor(server: FakeApiServer) {
    this.#server = server;
  }

  async request<T>(request: KubeRequest, signal: AbortSignal): Promise<T> {
    await this.#send(request, signal);
    const answer = this.#server.answer(request);
    await abortable(Promise.resolve(this.onResponse(request)), signal);
    return answer as T;
  }

  async *stream(request: KubeRequest, signal: AbortSignal): AsyncGenerator {
    await this.#send(request, signal);
    yield* this.#server.watch(request, signal);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #send(request: KubeRequest, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.requests.push(request);
    await abortable(Promise.resolve(this.onRequest(request)), signal);
  }
}

/** Use in `onRequest` or `onResponse` to let a request hang. */
export function hang(): Promise<never> {
  return new Promise(() => undefined);
}

/** The error for a failed request. Status 0 means that there was no response. */
export function kubeError(status: number, reason: string): KubeError {
  return new KubeError(`HTTP ${status} ${reason}`, { status, reason });
}

/** Maps core Events to `events.k8s.io`. Both groups serve the same objects, but core calls the note `message`. */
function mapCoreEvents(request: KubeRequest): KubeRequest {
  const path = request.path.replace(/^\/api\/v1\/(?=namespaces\/[^/]+\/events)/, '/apis/events.k8s.io/v1/');
  if (path === request.path) return request;
  const { message, ...rest } = request.body as { message?: string };
  return { ...request, path, body: { ...rest, note: message } };
}

function collectionOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

/** RFC 7396. */
function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return patch;
  const merged: Record<string, unknown> = isRecord(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key];
    else merged[key] = mergePatch(merged[key], value);
  }
  return merged;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
