import { EventEmitter, once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';

/** A proxy in front of a real store that records requests and injects faults. */
export interface FaultProxy extends AsyncDisposable {
  readonly url: string;
  /** All requests so far, in order of arrival. */
  readonly requests: readonly SeenRequest[];
  /** Resolves once the operation has been requested. */
  untilSeen(operation: string): Promise<void>;
}

export interface SeenRequest {
  /** S3 name of the operation, for example `PutObject`. */
  readonly operation: string;
  readonly headers: http.IncomingHttpHeaders;
}

export interface StoreResponse {
  readonly status: number;
  /** Alternating names and values, like Node's `rawHeaders`. */
  readonly headers: string[];
  readonly body: Buffer;
}

/** One request and its response. */
export interface Exchange {
  /** Forwards the request to the store and returns the store's response. */
  forward(): Promise<StoreResponse>;
  send(response: StoreResponse): void;
  /** Sends the headers and the first bytes of the body, then closes the connection. */
  sendPart(response: StoreResponse, bytes: number): void;
  closeConnection(): void;
}

/** Handlers that replace forwarding, by operation. A handler that does nothing leaves the request unanswered. */
export type Faults = Readonly<Record<string, (exchange: Exchange) => void | Promise<void>>>;

export interface FaultProxyOptions {
  readonly faults?: Faults;
  /** In PEM format. If set, the proxy serves HTTPS. */
  readonly tls?: { readonly cert: string; readonly key: string };
}

export async function startFaultProxy(
  storeUrl: string,
  { faults = {}, tls }: FaultProxyOptions = {},
): Promise<FaultProxy> {
  const requests: SeenRequest[] = [];
  const arrivals = new EventEmitter();
  const handle = async (incoming: http.IncomingMessage, outgoing: http.ServerResponse): Promise<void> => {
    const operation = operationOf(incoming);
    requests.push({ operation, headers: incoming.headers });
    arrivals.emit('request');
    const exchange = exchangeOf(storeUrl, incoming, outgoing);
    try {
      const fault = faults[operation];
      if (fault === undefined) exchange.send(await exchange.forward());
      else await fault(exchange);
    } catch {
      exchange.closeConnection();
    }
  };
  const listener: http.RequestListener = (incoming, outgoing) => void handle(incoming, outgoing);
  const server = tls === undefined ? http.createServer(listener) : https.createServer(tls, listener);
  const port = await listen(server);
  return {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    requests,
    async untilSeen(operation) {
      while (!requests.some((request) => request.operation === operation)) await once(arrivals, 'request');
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await once(server.close(), 'close');
    },
  };
}

/** Starts a server that accepts connections but never responds. */
export async function startSilentServer(): Promise<AsyncDisposable & { readonly port: number }> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket.on('error', () => undefined));
  });
  const port = await listen(server);
  return {
    port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await once(server.close(), 'close');
    },
  };
}

/** A response that does not come from the store. */
export function storeResponse(
  status: number,
  headers: Readonly<Record<string, string>>,
  body: string,
): StoreResponse {
  return { status, headers: Object.entries(headers).flat(), body: Buffer.from(body) };
}

/** An S3 error response. */
export function s3Error(status: number, code: string, message: string): StoreResponse {
  const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  return storeResponse(status, { 'content-type': 'application/xml', 'x-amz-request-id': 'FA017' }, body);
}

function exchangeOf(
  storeUrl: string,
  incoming: http.IncomingMessage,
  outgoing: http.ServerResponse,
): Exchange {
  return {
    forward: () => forward(storeUrl, incoming),
    send({ status, headers, body }) {
      outgoing.writeHead(status, headers).end(body);
    },
    sendPart({ status, headers, body }, bytes) {
      outgoing.writeHead(status, headers).write(body.subarray(0, bytes), () => outgoing.destroy());
    },
    closeConnection() {
      outgoing.destroy();
    },
  };
}

/** Forwards all headers unchanged, because the signature covers the Host header. */
async function forward(storeUrl: string, incoming: http.IncomingMessage): Promise<StoreResponse> {
  const { hostname, port } = new URL(storeUrl);
  const request = http.request({
    agent: false,
    hostname,
    port,
    method: incoming.method,
    path: incoming.url,
    headers: incoming.rawHeaders,
  });
  incoming.pipe(request);
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  const headers = response.rawHeaders;
  return { status: response.statusCode ?? 0, headers, body: await buffer(response) };
}

function operationOf({ method = '', url = '' }: http.IncomingMessage): string {
  const [path = '', query = ''] = url.split('?', 2);
  const isObject = path.split('/').filter((part) => part !== '').length > 1;
  if (isObject) return `${VERBS[method] ?? method}Object`;
  if (query.includes('list-type=2')) return 'ListObjectsV2';
  return `${method === 'PUT' ? 'Create' : (VERBS[method] ?? method)}Bucket`;
}

const VERBS: Readonly<Record<string, string>> = { HEAD: 'Head', GET: 'Get', PUT: 'Put', DELETE: 'Delete' };

async function listen(server: Server | http.Server): Promise<number> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as AddressInfo).port;
}
