import type { Clock } from '../clock/clock.ts';
import { errorFromStatus } from './error-response.ts';
import { type KubeClient, KubeError, type KubeRequest } from './kube-client.ts';
import { type KubeObject, resourcePath, type ResourceType } from './objects.ts';

/** A bookmark has only a `resourceVersion`. */
export interface WatchEvent<T extends KubeObject> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  readonly object: T;
}

export interface WatchOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly resource: ResourceType;
  /** Default: all namespaces. */
  readonly namespace?: string | undefined;
  /** Version after which the watch starts. Default: the watch starts with an `ADDED` event for each object. */
  readonly resourceVersion: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** After this time, the server closes the watch. */
  readonly timeoutSeconds: number;
}

interface ReceivedEvent {
  readonly type: WatchEvent<KubeObject>['type'] | 'ERROR';
  readonly object: KubeObject;
}

/** A watch that is still open this long after its timeout is assumed to be dead. */
const GRACE_MS = 30_000;

/**
 * Yields the events of one watch until the server closes it.
 * @throws {KubeError} if the watch cannot start, breaks, sends an error, or is not closed in time.
 * @throws `signal.reason` as soon as `signal` aborts.
 */
export async function* watchObjects<T extends KubeObject>(
  { client, clock, resource, namespace, ...selection }: WatchOptions,
  signal: AbortSignal,
): AsyncGenerator<WatchEvent<T>, void, undefined> {
  const request: KubeRequest = {
    method: 'GET',
    path: resourcePath(resource, { namespace }),
    query: { watch: true, allowWatchBookmarks: true, ...selection },
  };
  using deadline = clock.deadline(selection.timeoutSeconds * 1_000 + GRACE_MS, signal);
  try {
    for await (const event of client.stream(request, deadline.signal)) {
      const { type, object } = event as ReceivedEvent;
      if (type === 'ERROR') throw errorFromStatus(request, object, clock);
      yield { type, object: object as T };
    }
  } catch (error) {
    if (!deadline.signal.aborted || signal.aborted) throw error;
    const message = `${request.method} ${request.path}: the watch was not closed in time`;
    throw new KubeError(message, { status: 0, reason: 'WatchEnded' });
  }
}
