import { isDeepStrictEqual } from 'node:util';

import type { Dispatcher } from 'undici';

import { createDispatcher, type Tls } from './connection.ts';

/**
 * Purpose of a connection. Each has its own connections, so that none waits for another:
 *
 * | pool | used by | connections |
 * |---|---|---|
 * | `urgent` | requests that must not wait, such as Lease renewals | 2 |
 * | `default` | all other requests | 32 |
 * | `stream` | watches, each of which occupies a connection for minutes | one per watch |
 */
export type PoolName = 'urgent' | 'default' | 'stream';

const CONNECTIONS: Readonly<Record<PoolName, number | null>> = {
  // A second connection, for the next attempt while an earlier one gets no response.
  urgent: 2,
  default: 32,
  // The number of reflectors is the limit.
  stream: null,
};

/** Keep-alive connections to one API server. They are replaced only when the TLS settings change. */
export class ConnectionPools {
  readonly #proxyUrl: string | undefined;
  /** Includes replaced dispatchers that still have requests in progress. */
  readonly #dispatchers = new Set<Dispatcher>();
  readonly #current = new Map<PoolName, Dispatcher>();
  #tls: Tls | undefined;
  #isClosed = false;

  constructor(proxyUrl: string | undefined) {
    this.#proxyUrl = proxyUrl;
  }

  /** @throws Error if the pools are closed. */
  get(name: PoolName, tls: Tls): Dispatcher {
    if (this.#isClosed) throw new Error('the client is closed');
    if (!isDeepStrictEqual(this.#tls, tls)) this.#replaceAll(tls);
    return this.#current.get(name) ?? this.#open(name, tls);
  }

  /** Closes all connections. Requests in progress fail. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(Array.from(this.#dispatchers, (dispatcher) => dispatcher.destroy()));
    this.#dispatchers.clear();
  }

  #open(name: PoolName, tls: Tls): Dispatcher {
    const dispatcher = createDispatcher(tls, this.#proxyUrl, CONNECTIONS[name]);
    this.#dispatchers.add(dispatcher);
    this.#current.set(name, dispatcher);
    return dispatcher;
  }

  #replaceAll(tls: Tls): void {
    for (const dispatcher of this.#current.values()) this.#retire(dispatcher);
    this.#current.clear();
    this.#tls = tls;
  }

  /** Closes the dispatcher once its requests have finished. Watches finish within minutes. */
  #retire(dispatcher: Dispatcher): void {
    void dispatcher
      .close()
      .catch(() => undefined)
      .finally(() => this.#dispatchers.delete(dispatcher));
  }
}
