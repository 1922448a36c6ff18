import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import type http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';

import { createAuthority } from '../../deploy/local/certificates.ts';
import type { KubeAccess } from '../../deploy/local/control-plane.ts';

/** A proxy in front of a real API server that records requests and injects faults. */
export interface ApiServerProxy extends AsyncDisposable {
  /** All requests so far, in order of arrival. */
  readonly requests: readonly ApiRequest[];
  /** Applied to requests that arrive from now on. Default: forwards all of them. */
  fault: ApiFault;
  closeConnections(): void;
}

export interface ApiRequest {
  readonly method: string;
  readonly path: string;
  readonly isWatch: boolean;
  /** Arrival time, from `performance.now()`. */
  readonly arrivedMs: number;
  /** True if the proxy rejected the request instead of forwarding it. */
  isRejected: boolean;
  /** True once the response is complete or the connection is closed. */
  isClosed: boolean;
}

/** Returns undefined to forward the request unchanged. */
export type ApiFault = (request: ApiRequest) => ApiFaultAction | undefined;

export type ApiFaultAction =
  /** Rejects the request with this status. */
  | { readonly status: number; readonly retryAfterSeconds?: number }
  /** Closes the connection without a response. */
  | { readonly disconnect: true }
  /** Forwards the request, and ends the response normally this long after it started. */
  | { readonly endAfterMs: number };

/**
 * @param kubeconfigFile The client's kubeconfig. A copy that points to the proxy is written to `proxiedFile`.
 */
export async function startApiServerProxy(
  access: KubeAccess,
  kubeconfigFile: string,
  proxiedFile: string,
): Promise<ApiServerProxy> {
  const authority = await createAuthority('storage-probe api server proxy');
  const agent = new https.Agent({ ca: access.caPem, keepAlive: true });
  const requests: ApiRequest[] = [];

  const server = https.createServer(await authority.issue(), (incoming, outgoing) => {
    const request = requestOf(incoming);
    requests.push(request);
    outgoing.on('close', () => (request.isClosed = true));
    const action = proxy.fault(request);
    if (action !== undefined && 'status' in action) {
      request.isRejected = true;
      reject(outgoing, action.status, action.retryAfterSeconds);
      return;
    }
    if (action !== undefined && 'disconnect' in action) {
      request.isRejected = true;
      incoming.socket.destroy();
      return;
    }
    forward(access.url, agent, incoming, outgoing, action?.endAfterMs);
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
    closeConnections() {
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
  return { method, path, isWatch, arrivedMs: performance.now(), isRejected: false, isClosed: false };
}

/** Same format as kube-apiserver's own filters. */
function reject(outgoing: http.ServerResponse, status: number, retryAfterSeconds?: number): void {
  const retryAfter = retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) };
  outgoing.writeHead(status, { 'content-type': 'text/plain', ...retryAfter });
  outgoing.end('Too many requests, please try again later.');
}

function forward(
  url: string,
  agent: https.Agent,
  incoming: http.IncomingMessage,
  outgoing: http.ServerResponse,
  endAfterMs?: number,
): void {
  const { hostname, port } = new URL(url);
  const { method, url: path, rawHeaders: headers } = incoming;
  const closeConnection = (): void => void outgoing.destroy();
  const request = https.request({ agent, hostname, port, method, path, headers });
  request.on('error', closeConnection).on('response', (response) => {
    outgoing.writeHead(response.statusCode ?? 0, response.rawHeaders);
    outgoing.flushHeaders();
    response.on('error', closeConnection).pipe(outgoing);
    if (endAfterMs === undefined) return;
    const timer = setTimeout(() => {
      response.unpipe();
      outgoing.end();
    }, endAfterMs);
    outgoing.on('close', () => clearTimeout(timer));
  });
  outgoing.on('close', () => request.destroy());
  incoming.on('error', closeConnection).pipe(request);
}
