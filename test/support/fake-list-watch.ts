import { type KubeClient, KubeError, type KubeRequest } from '../../src/kube/kube-client.ts';
import type { KubeObject, ObjectMeta } from '../../src/kube/objects.ts';

export interface Item extends KubeObject {
  data?: string;
}

interface WatchEvent {
  readonly type: string;
  readonly object: object;
  /** Watches that start from an earlier revision receive the event. */
  readonly revision: number;
}

/** How one request fails. */
export type Fault = KubeError | 'hang' | EventFault;

/** A watch sends this event first. */
interface EventFault {
  readonly event: unknown;
}

export const EXPIRED = new KubeError('GET: 410 Expired', { status: 410, reason: 'Expired' });
export const REFUSED = new KubeError('GET: connect ECONNREFUSED', { status: 0, reason: 'ConnectionFailed' });

/**
 * In-memory lists and watches for one kind of object, with etcd-like revisions and injected faults. Everything except
 * `hang` completes within one turn of the event loop.
 */
export class FakeListWatch implements KubeClient {
  /** Query of each request. */
  readonly requests: NonNullable<KubeRequest['query']>[] = [];
  /** Each request consumes one entry. An undefined entry means no fault. */
  readonly faults: (Fault | undefined)[] = [];
  readonly #objects = new Map<string, Item>();
  readonly #events: WatchEvent[] = [];
  readonly #pages = new Map<string, readonly Item[]>();
  #revision = 100;
  #compactedTo = 0;
  #uids = 0;
  #watchEpoch = 0;
  #changed = Promise.withResolvers<void>();

  get lists(): readonly object[] {
    return this.requests.filter((query) => query['watch'] !== true);
  }

  get watches(): readonly object[] {
    return this.requests.filter((query) => query['watch'] === true);
  }

  get objects(): Item[] {
    return [...this.#objects.values()];
  }

  /** Creates or updates the object. */
  put(name: string, data = ''): void {
    const uid = this.#objects.get(name)?.metadata.uid;
    this.#uids += uid === undefined ? 1 : 0;
    const metadata: ObjectMeta & { managedFields: object[] } = {
      namespace: 'default',
      name,
      uid: uid ?? `uid-${this.#uids}`,
      resourceVersion: this.#nextRevision(),
      managedFields: [{}],
    };
    const object = { metadata, data };
    this.#objects.set(name, object);
    this.#record(uid === undefined ? 'ADDED' : 'MODIFIED', object);
  }

  remove(name: string): void {
    const object = this.#objects.get(name);
    if (object === undefined) return;
    this.#objects.delete(name);
    this.#record('DELETED', {
      ...object,
      metadata: { ...object.metadata, resourceVersion: this.#nextRevision() },
    });
  }

  /** Replaces the object with a new object of the same name. Watches see only the ADDED event. */
  recreate(name: string): void {
    this.#objects.delete(name);
    this.put(name);
  }

  bookmark(): void {
    this.#record('BOOKMARK', { metadata: { name: '', resourceVersion: this.#nextRevision() } });
  }

  /** Discards old revisions. Watches from earlier revisions and pages of earlier lists get a 410. */
  compact(): void {
    this.#compactedTo = this.#revision;
    this.#pages.clear();
  }

  /** Closes all watches normally. */
  closeWatches(): void {
    this.#watchEpoch += 1;
    this.#wake();
  }

  async request<T>(request: KubeRequest, signal: AbortSignal): Promise<T> {
    const { query = {} } = request;
    await this.#beginRequest(query, signal);
    const { continue: token, limit = Infinity } = query;
    const items = token === undefined ? this.objects : this.#pages.get(String(token));
    if (items === undefined) throw EXPIRED;
    const remaining = items.slice(Number(limit));
    const revision = token === undefined ? String(this.#revision) : String(token).split('/')[0];
    const nextToken = `${revision}/${remaining.length}`;
    if (remaining.length > 0) this.#pages.set(nextToken, remaining);
    return structuredClone({
      metadata: { resourceVersion: revision, continue: remaining.length > 0 ? nextToken : '' },
      items: items.slice(0, Number(limit)),
    }) as T;
  }

  async *stream({ query = {} }: KubeRequest, signal: AbortSignal): AsyncGenerator<unknown, void, undefined> {
    const epoch = this.#watchEpoch;
    const fault = await this.#beginRequest(query, signal);
    if (fault !== undefined) yield fault.event;
    const from = Number(query['resourceVersion']);
    if (from < this.#compactedTo) {
      yield { type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' } };
    }
    let next = this.#events.findIndex(({ revision }) => revision > from);
    if (next === -1) next = this.#events.length;
    for (;;) {
      for (; next < this.#events.length; next += 1) yield structuredClone(this.#events[next]);
      if (epoch !== this.#watchEpoch) return;
      await raceAbort(this.#changed.promise, signal);
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #beginRequest(query: object, signal: AbortSignal): Promise<EventFault | undefined> {
    signal.throwIfAborted();
    this.requests.push({ ...query });
    const fault = this.faults.shift();
    if (fault instanceof KubeError) throw fault;
    if (fault === 'hang') await raceAbort(new Promise(() => undefined), signal);
    return fault === 'hang' ? undefined : fault;
  }

  #nextRevision(): string {
    this.#revision += 1;
    return String(this.#revision);
  }

  #record(type: string, object: object): void {
    this.#events.push({ type, object, revision: this.#revision });
    this.#wake();
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

async function raceAbort(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => {
    reject(signal.reason as Error);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
