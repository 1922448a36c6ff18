import { type KubeClient, KubeError, type KubeRequest } from '../../src/kube/kube-client.ts';
import type { KubeObject, ObjectMeta } from '../../src/kube/objects.ts';

export interface Item extends KubeObject {
  data?: string;
}

interface WatchEvent {
  readonly type: string;
  readonly object: object;
  /** At which it comes to a watch from an earlier one. */
  readonly revision: number;
}

/** How one request goes wrong. */
export type Fault = KubeError | 'hang' | EventFault;

/** What a watch says before all else. */
interface EventFault {
  readonly event: unknown;
}

export const EXPIRED = new KubeError('GET: 410 Expired', { status: 410, reason: 'Expired' });
export const REFUSED = new KubeError('GET: connect ECONNREFUSED', { status: 0, reason: 'ConnectionFailed' });

/**
 * Lists and watches of one kind of object, in memory, with revisions as etcd has them. Faults come on cue. Whatever
 * needs no time happens within one turn of the event loop.
 */
export class FakeListWatch implements KubeClient {
  /** The query of each request. */
  readonly requests: NonNullable<KubeRequest['query']>[] = [];
  /** Taken one by one by the next requests. */
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

  /** Makes the object, or changes it. */
  put(name: string, data = ''): void {
    const uid = this.#objects.get(name)?.metadata.uid;
    this.#uids += uid === undefined ? 1 : 0;
    const metadata: ObjectMeta & { managedFields: object[] } = {
      namespace: 'default',
      name,
      uid: uid ?? `uid-${this.#uids}`,
      resourceVersion: this.#next(),
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
    this.#record('DELETED', { ...object, metadata: { ...object.metadata, resourceVersion: this.#next() } });
  }

  /** A namesake takes the object's place, and a watch sees one event. */
  swap(name: string): void {
    this.#objects.delete(name);
    this.put(name);
  }

  bookmark(): void {
    this.#record('BOOKMARK', { metadata: { name: '', resourceVersion: this.#next() } });
  }

  /** Forgets the past: watches from before and pages of earlier lists are answered by 410. */
  compact(): void {
    this.#compactedTo = this.#revision;
    this.#pages.clear();
  }

  /** Ends all watches in good order. */
  endWatches(): void {
    this.#watchEpoch += 1;
    this.#wake();
  }

  async request<T>(request: KubeRequest, signal: AbortSignal): Promise<T> {
    const { query = {} } = request;
    await this.#begin(query, signal);
    const { continue: token, limit = Infinity } = query;
    const items = token === undefined ? this.objects : this.#pages.get(String(token));
    if (items === undefined) throw EXPIRED;
    const rest = items.slice(Number(limit));
    const revision = token === undefined ? String(this.#revision) : String(token).split('/')[0];
    const next = `${revision}/${rest.length}`;
    if (rest.length > 0) this.#pages.set(next, rest);
    return structuredClone({
      metadata: { resourceVersion: revision, continue: rest.length > 0 ? next : '' },
      items: items.slice(0, Number(limit)),
    }) as T;
  }

  async *stream({ query = {} }: KubeRequest, signal: AbortSignal): AsyncGenerator<unknown, void, undefined> {
    const epoch = this.#watchEpoch;
    const fault = await this.#begin(query, signal);
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
      await untilAborted(this.#changed.promise, signal);
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #begin(query: object, signal: AbortSignal): Promise<EventFault | undefined> {
    signal.throwIfAborted();
    this.requests.push({ ...query });
    const fault = this.faults.shift();
    if (fault instanceof KubeError) throw fault;
    if (fault === 'hang') await untilAborted(new Promise(() => undefined), signal);
    return fault === 'hang' ? undefined : fault;
  }

  #next(): string {
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

async function untilAborted(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
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
