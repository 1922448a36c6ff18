import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import { promisify } from 'node:util';

import { onTestFinished } from 'vitest';

export interface TestServer {
  /** `http://127.0.0.1:PORT`, or `https:`. */
  readonly url: string;
  readonly port: number;
  /** `METHOD path` of each request, in the order in which they came. */
  readonly requests: string[];
  /** The headers of each. */
  readonly headers: http.IncomingHttpHeaders[];
  /** Connections that were opened. */
  readonly connections: net.Socket[];
  /** Stops listening, and resolves when nobody can connect any more. */
  readonly stop: () => Promise<void>;
}

type Listening = Omit<TestServer, 'requests' | 'headers'>;

export interface HttpServerOptions {
  readonly tls?: { readonly cert: string; readonly key: string };
}

/** Starts an HTTP server that ends with the test. `answer` says what it does with each request. */
export async function serveHttp(
  answer: (request: http.IncomingMessage, response: http.ServerResponse) => void,
  { tls }: HttpServerOptions = {},
): Promise<TestServer> {
  const server = tls === undefined ? http.createServer() : https.createServer(tls);
  const requests: string[] = [];
  const headers: http.IncomingHttpHeaders[] = [];
  const listener = (request: http.IncomingMessage, response: http.ServerResponse): void => {
    requests.push(`${request.method} ${request.url}`);
    headers.push(request.headers);
    // Whoever cuts a connection on purpose does not want to hear of it.
    request.on('error', () => undefined);
    answer(request, response);
  };
  server.on('request', listener);
  return { ...(await listen(server, tls === undefined ? 'http' : 'https')), requests, headers };
}

/** Starts a TCP server that ends with the test. `onSocket` says what it does with each connection. */
export async function serveTcp(onSocket: (socket: net.Socket) => void): Promise<Listening> {
  const server = net.createServer();
  server.on('connection', onSocket);
  return listen(server, 'http');
}

/** A port at which nothing listens. */
export async function closedPort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function listen(server: net.Server, scheme: string): Promise<Listening> {
  const connections: net.Socket[] = [];
  server.on('connection', (socket: net.Socket) => {
    connections.push(socket);
    socket.on('error', () => undefined);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const stop = async (): Promise<void> => {
    for (const socket of connections) socket.destroy();
    if (server.listening) await promisify(server.close.bind(server))();
  };
  onTestFinished(stop);
  const { port } = server.address() as AddressInfo;
  return { url: `${scheme}://127.0.0.1:${port}`, port, connections, stop };
}

/** Resolves with all of a request's body. */
export async function bodyOf(request: http.IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
