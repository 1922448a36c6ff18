import { EventEmitter, once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';

/** Stands between the probe and a real store, and does what a fault would do. */
export interface FaultProxy extends AsyncDisposable {
  readonly url: string;
  /** All that came, in order. */
  readonly requests: readonly SeenRequest[];
  /** Resolves when an operation has come at least once. */
  seen(operation: string): Promise<void>;
}

export interface SeenRequest {
  /** As S3 calls it. */
  readonly operation: string;
  readonly headers: http.IncomingHttpHeaders;
}

export interface Answer {
  readonly status: number;
  /** Names and values by turns. */
  readonly headers: string[];
  readonly body: Buffer;
}

/** One request that is due for a fault. */
export interface Exchange {
  /** Asks the store. */
  forward(): Promise<Answer>;
  send(answer: Answer): void;
  /** Sends the head and the first bytes of an answer, then closes the connection. */
  sendPart(answer: Answer, bytes: number): void;
  /** Closes the connection. */
  cut(): void;
}

/** What is done with an operation instead of passing it on; one that does nothing leaves the request without an answer. */
export type Faults = Readonly<Record<string, (exchange: Exchange) => void | Promise<void>>>;

export interface FaultProxyOptions {
  readonly faults?: Faults;
  /** PEM; with it the proxy speaks HTTPS. */
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
      exchange.cut();
    }
  };
  const listener: http.RequestListener = (incoming, outgoing) => void handle(incoming, outgoing);
  const server = tls === undefined ? http.createServer(listener) : https.createServer(tls, listener);
  const port = await listen(server);
  return {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    requests,
    async seen(operation) {
      while (!requests.some((request) => request.operation === operation)) await once(arrivals, 'request');
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await once(server.close(), 'close');
    },
  };
}

/** Accepts connections, and never says a word. */
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

/** An answer of something else than the store. */
export function answerOf(status: number, headers: Readonly<Record<string, string>>, body: string): Answer {
  return { status, headers: Object.entries(headers).flat(), body: Buffer.from(body) };
}

/** An error as S3 tells it. */
export function s3Error(status: number, code: string, message: string): Answer {
  const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  return answerOf(status, { 'content-type': 'application/xml', 'x-amz-request-id': 'FA017' }, body);
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
    cut() {
      outgoing.destroy();
    },
  };
}

/** The signature covers the Host header: all headers go on as they came. */
async function forward(storeUrl: string, incoming: http.IncomingMessage): Promise<Answer> {
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
