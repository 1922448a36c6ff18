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
  /** `METHOD path` of each request, in order of arrival. */
  readonly requests: string[];
  /** Headers of each request. */
  readonly headers: http.IncomingHttpHeaders[];
  /** All connections that were ever opened. */
  readonly connections: net.Socket[];
  /** Closes all connections and resolves when the server no longer accepts new connections. */
  readonly stop: () => Promise<void>;
}

type Listening = Omit<TestServer, 'requests' | 'headers'>;

export interface HttpServerOptions {
  readonly tls?: https.ServerOptions;
}

/** Starts an HTTP server that stops after the test. `answer` handles each request. */
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
    // Tests cut connections on purpose. Without a listener, the error would crash the process.
    request.on('error', () => undefined);
    answer(request, response);
  };
  server.on('request', listener);
  return { ...(await listen(server, tls === undefined ? 'http' : 'https')), requests, headers };
}

/** Starts a TCP server that stops after the test. `onSocket` handles each connection. */
export async function serveTcp(onSocket: (socket: net.Socket) => void): Promise<Listening> {
  const server = net.createServer();
  server.on('connection', onSocket);
  return listen(server, 'http');
}

/** Returns a port on which nothing listens. */
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

/** Reads the whole body of a request. */
export async function bodyOf(request: http.IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
