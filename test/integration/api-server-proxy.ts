import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import type http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';

import { makeAuthority } from '../../deploy/local/certificates.ts';
import type { KubeAccess } from '../../deploy/local/control-plane.ts';

/** Stands between a client and a real API server, counts what is asked, and does what a fault would do. */
export interface ApiServerProxy extends AsyncDisposable {
  /** All that came, in order. */
  readonly requests: readonly ApiRequest[];
  /** What is done with the requests that come from now on. Default: they are passed on. */
  fault: ApiFault;
  /** Closes all connections. */
  cut(): void;
}

export interface ApiRequest {
  readonly method: string;
  readonly path: string;
  readonly isWatch: boolean;
  /** `performance.now()` when it came. */
  readonly atMs: number;
  /** Whether it was refused instead of being passed on. */
  isRefused: boolean;
  /** Whether the answer is over, or the connection. */
  hasEnded: boolean;
}

export type ApiFault = (request: ApiRequest) => ApiFaultAction | undefined;

export type ApiFaultAction =
  /** An answer in place of the API server's. */
  | { readonly status: number; readonly retryAfterSeconds?: number }
  /** The answer ends, in good order, so long after it began. */
  | { readonly endAfterMs: number };

/**
 * @param kubeconfigFile of the client; it gets a copy at `proxiedFile` that leads to the proxy.
 */
export async function startApiServerProxy(
  access: KubeAccess,
  kubeconfigFile: string,
  proxiedFile: string,
): Promise<ApiServerProxy> {
  const authority = await makeAuthority('storage-probe api server proxy');
  const agent = new https.Agent({ ca: access.caPem, keepAlive: true });
  const requests: ApiRequest[] = [];

  const server = https.createServer(await authority.issue(), (incoming, outgoing) => {
    const request = requestOf(incoming);
    requests.push(request);
    outgoing.on('close', () => (request.hasEnded = true));
    const action = proxy.fault(request);
    if (action !== undefined && 'status' in action) {
      request.isRefused = true;
      refuse(outgoing, action.status, action.retryAfterSeconds);
      return;
    }
    passOn(access.url, agent, incoming, outgoing, action?.endAfterMs);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const kubeconfig = await readFile(kubeconfigFile, 'utf8');
  const ca = Buffer.from(authority.certificate).toString('base64');
  const proxied = kubeconfig
    .replaceAll(access.url, url)
    .replace(/(certificate-authority-data: ).*/, `$1${ca}`);
  await writeFile(proxiedFile, proxied, { mode: 0o600 });

  const proxy: ApiServerProxy = {
    requests,
    fault: () => undefined,
    cut() {
      server.closeAllConnections();
    },
    async [Symbol.asyncDispose]() {
      agent.destroy();
      server.closeAllConnections();
      await once(server.close(), 'close');
    },
  };
  return proxy;
}

function requestOf({ method = '', url = '' }: http.IncomingMessage): ApiRequest {
  const [path = '', query] = url.split('?', 2);
  const isWatch = new URLSearchParams(query).get('watch') === 'true';
  return { method, path, isWatch, atMs: performance.now(), isRefused: false, hasEnded: false };
}

/** As kube-apiserver's own filters refuse. */
function refuse(outgoing: http.ServerResponse, status: number, retryAfterSeconds?: number): void {
  const retryAfter = retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) };
  outgoing.writeHead(status, { 'content-type': 'text/plain', ...retryAfter });
  outgoing.end('Too many requests, please try again later.');
}

function passOn(
  url: string,
  agent: https.Agent,
  incoming: http.IncomingMessage,
  outgoing: http.ServerResponse,
  endAfterMs?: number,
): void {
  const { hostname, port } = new URL(url);
  const { method, url: path, rawHeaders: headers } = incoming;
  const cut = (): void => void outgoing.destroy();
  const request = https.request({ agent, hostname, port, method, path, headers });
  request.on('error', cut).on('response', (response) => {
    outgoing.writeHead(response.statusCode ?? 0, response.rawHeaders);
    outgoing.flushHeaders();
    response.on('error', cut).pipe(outgoing);
    if (endAfterMs === undefined) return;
    const timer = setTimeout(() => {
      response.unpipe();
      outgoing.end();
    }, endAfterMs);
    outgoing.on('close', () => clearTimeout(timer));
  });
  outgoing.on('close', () => request.destroy());
  incoming.on('error', cut).pipe(request);
}
