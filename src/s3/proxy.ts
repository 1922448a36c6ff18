import type net from 'node:net';

import { Client } from 'undici';

import { ReasonedError } from '../api/reasons.ts';
import type { TargetProxy } from '../api/run.ts';
import { hostOf, portOf } from './url.ts';

export interface Proxy {
  readonly url: URL;
  readonly host: string;
  readonly port: number;
  /** `host:port`, for messages. */
  readonly name: string;
  /** Value of `Proxy-Authorization`. Never log it. */
  readonly authorization: string | undefined;
}

export function proxyOf({ url: text, credentials }: TargetProxy): Proxy {
  const url = new URL(text);
  const pair = credentials && `${credentials.username}:${credentials.password}`;
  return {
    url,
    host: hostOf(url),
    port: portOf(url),
    name: `${url.hostname}:${portOf(url)}`,
    authorization: pair && `Basic ${Buffer.from(pair).toString('base64')}`,
  };
}

/** Source: RFC 9110 section 15.5.8. Only a proxy sends it. */
export const PROXY_AUTHENTICATION_REQUIRED = 407;

/**
 * Opens a tunnel to `authority` (`host:port`) over a connection to the proxy. Source: RFC 9110 section 9.3.6.
 *
 * @throws {ReasonedError} `ProxyRefused` or `StoreUnavailable` if the proxy answers with an error.
 */
export async function openTunnel(
  connection: net.Socket,
  authority: string,
  { url, name, authorization }: Proxy,
  signal: AbortSignal,
): Promise<net.Socket> {
  const client = new Client(url.origin, {
    connect: (_options, done) => {
      // undici sends nothing if the connection is there at once.
      queueMicrotask(() => {
        done(null, connection);
      });
    },
    headersTimeout: 0,
  });
  const headers = {
    host: authority,
    ...(authorization !== undefined && { 'proxy-authorization': authorization }),
  };
  const { statusCode, socket } = await client.connect({ path: authority, headers, signal });
  if (statusCode >= 200 && statusCode < 300) return socket as net.Socket;
  socket.destroy();
  throw proxyStatusError(name, statusCode);
}

export function proxyStatusError(proxyName: string, status: number): ReasonedError {
  const message = `proxy ${proxyName} answered with status ${status}; the request did not reach the store`;
  return new ReasonedError(status >= 500 ? 'StoreUnavailable' : 'ProxyRefused', message);
}
