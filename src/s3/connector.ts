import type { LookupAddress } from 'node:dns';
import net from 'node:net';
import type tls from 'node:tls';

import { ReasonedError } from '../api/reasons.ts';
import type { ConnectionAttempt, Phases } from '../api/run.ts';
import type { Clock } from '../clock/clock.ts';
import {
  type AddressPolicy,
  blockedHostError,
  blockedProxiedHostError,
  checkAddresses,
} from './address-policy.ts';
import { causeText } from './cause-text.ts';
import { dial, type OpenSocket } from './dialer.ts';
import { openTunnel, type Proxy } from './proxy.ts';
import { withoutTrailingDot } from './resolver-files.ts';
import { type Resolution, type Resolver, systemResolver } from './resolver.ts';
import { startTls } from './tls-connection.ts';
import { hostOf, portOf } from './url.ts';

export interface ConnectorOptions {
  readonly endpoint: URL;
  /** Undefined if the endpoint does not use TLS. */
  readonly secureContext: tls.SecureContext | undefined;
  /** Name for SNI and the certificate check. Default: the endpoint's host. */
  readonly serverName?: string | undefined;
  readonly proxy?: Proxy | undefined;
  readonly proxyContext?: tls.SecureContext | undefined;
  readonly clock: Clock;
  /** Addresses that may be connected to. Default: any. */
  readonly addressPolicy?: AddressPolicy | undefined;
  /** Default: the system's resolver. */
  readonly resolver?: Resolver | undefined;
  /** For tests. Default: opens a TCP connection. */
  readonly openSocket?: OpenSocket | undefined;
}

/** Is notified of what happens while a connection is opened. */
export interface ConnectionObserver {
  /** Called once, before anything else. */
  connectStarted(phase: keyof Phases): void;
  /** The lookup has to wait for others. Called right after {@link connectStarted}. */
  lookupQueued(): void;
  phaseStarted(phase: keyof Phases): void;
  /** Receives the list of attempts, which the connector fills and updates. */
  dialing(attempts: ConnectionAttempt[]): void;
  connected(socket: net.Socket): void;
  /** Called during the TLS handshake and if it failed. */
  tlsProgressed(socket: tls.TLSSocket): void;
  tlsEstablished(socket: tls.TLSSocket): void;
}

/** Opens connections to one endpoint, directly or through a proxy. */
export class Connector {
  readonly #options: ConnectorOptions;

  constructor(options: ConnectorOptions) {
    this.#options = options;
  }

  /**
   * The connection is ready for a request when the promise resolves.
   *
   * @param signal aborts the attempt; the promise then rejects with `signal.reason`. The caller aborts it in any case
   *   when the promise has settled, which ends lookups that are still going on.
   * @throws {ReasonedError} if the address policy or the proxy refused. Otherwise the error of the system or of OpenSSL.
   */
  async connect(observer: ConnectionObserver, signal: AbortSignal): Promise<net.Socket> {
    const { endpoint, proxy, secureContext, serverName } = this.#options;
    const tcp = await this.#connectFirstHop(observer, signal);
    let socket = tcp;
    try {
      if (proxy !== undefined) socket = await this.#throughProxy(tcp, proxy, observer, signal);
      if (endpoint.protocol === 'https:') {
        observer.phaseStarted('tlsMs');
        const name = withoutTrailingDot(serverName ?? hostOf(endpoint));
        const onProgress = (unfinished: tls.TLSSocket): void => {
          observer.tlsProgressed(unfinished);
        };
        const secure = await startTls(socket, { name, secureContext, signal, onProgress });
        observer.tlsEstablished(secure);
        socket = secure;
      }
    } catch (error) {
      tcp.destroy();
      throw error;
    }
    observer.phaseStarted('sendMs');
    return socket;
  }

  async #connectFirstHop(observer: ConnectionObserver, signal: AbortSignal): Promise<net.Socket> {
    const { endpoint, proxy } = this.#options;
    if (proxy === undefined) return this.#dial(hostOf(endpoint), portOf(endpoint), observer, signal);
    const blocked = this.#blockedProxiedHost(hostOf(endpoint));
    if (blocked !== undefined) {
      observer.connectStarted('connectMs');
      throw blocked;
    }
    try {
      return await this.#dial(proxy.host, proxy.port, observer, signal);
    } catch (error) {
      throw proxyUnreachable(error, `connecting to proxy ${proxy.name}`, signal);
    }
  }

  /** Starts TLS with the proxy if needed, and opens a tunnel if the endpoint uses TLS. */
  async #throughProxy(
    tcp: net.Socket,
    proxy: Proxy,
    observer: ConnectionObserver,
    signal: AbortSignal,
  ): Promise<net.Socket> {
    const { endpoint, proxyContext } = this.#options;
    const isSecure = proxy.url.protocol === 'https:';
    const needsTunnel = endpoint.protocol === 'https:';
    if (!isSecure && !needsTunnel) return tcp;
    observer.phaseStarted('proxyMs');
    const socket = isSecure
      ? await startTls(tcp, { name: proxy.host, secureContext: proxyContext, signal }).catch(
          (error: unknown) => {
            throw proxyUnreachable(error, `TLS handshake with proxy ${proxy.name}`, signal);
          },
        )
      : tcp;
    if (!needsTunnel) return socket;
    const authority = `${withoutTrailingDot(endpoint.hostname)}:${portOf(endpoint)}`;
    try {
      return await openTunnel(socket, authority, proxy, signal);
    } catch (error) {
      throw proxyUnreachable(error, `opening a tunnel through proxy ${proxy.name}`, signal);
    }
  }

  async #dial(
    host: string,
    port: number,
    observer: ConnectionObserver,
    signal: AbortSignal,
  ): Promise<net.Socket> {
    const { clock, addressPolicy: policy, resolver = systemResolver, openSocket } = this.#options;
    const { addresses, more } = await this.#addressesOf(host, observer, signal);
    const attempts: ConnectionAttempt[] = [];
    observer.dialing(attempts);
    const isName = net.isIP(host) === 0;
    const checkedMore = async (): Promise<readonly LookupAddress[]> => {
      const others = (await more?.()) ?? [];
      if (policy !== undefined) checkAddresses(policy, host, others);
      return others;
    };
    try {
      const { socket, address } = await dial({
        addresses,
        ...(more !== undefined && { more: checkedMore }),
        port,
        clock,
        signal,
        attempts,
        open: openSocket,
      });
      if (isName) resolver.connected(host, address);
      observer.connected(socket);
      return socket;
    } catch (error) {
      if (isName) resolver.failed(host);
      throw error;
    }
  }

  async #addressesOf(host: string, observer: ConnectionObserver, signal: AbortSignal): Promise<Resolution> {
    const { addressPolicy: policy, resolver = systemResolver } = this.#options;
    const family = net.isIP(host);
    if (family !== 0) {
      observer.connectStarted('connectMs');
      const blocked = policy && blockedHostError(policy, host);
      if (blocked !== undefined) throw blocked;
      return { addresses: [{ address: host, family }] };
    }
    const known = resolver.cached(host, signal);
    observer.connectStarted(known === undefined ? 'dnsMs' : 'connectMs');
    const resolution =
      known ??
      (await resolver.resolve(host, {
        signal,
        onQueued: () => {
          observer.lookupQueued();
        },
        onDequeued: () => {
          observer.phaseStarted('dnsMs');
        },
      }));
    if (policy !== undefined) checkAddresses(policy, host, resolution.addresses);
    if (known === undefined) observer.phaseStarted('connectMs');
    return resolution;
  }

  #blockedProxiedHost(host: string): ReasonedError | undefined {
    const { addressPolicy: policy } = this.#options;
    return policy && blockedProxiedHostError(policy, host);
  }
}

/** Errors that already have a reason, and aborts, stay as they are. */
function proxyUnreachable(error: unknown, activity: string, signal: AbortSignal): unknown {
  if (error instanceof ReasonedError || signal.aborted) return error;
  return new ReasonedError('ProxyUnreachable', `${activity} failed: ${causeText(error)}`, { cause: error });
}
