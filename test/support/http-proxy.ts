import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';

import { onTestFinished } from 'vitest';

export interface HttpProxy {
  readonly url: string;
  readonly port: number;
  /** `METHOD target` of each request, in order of arrival. */
  readonly requests: string[];
  readonly headers: http.IncomingHttpHeaders[];
}

export interface HttpProxyOptions {
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Status of all responses. Default: requests are forwarded. */
  readonly status?: number;
  /** Required `Proxy-Authorization`. */
  readonly authorization?: string;
}

/** Starts an HTTP proxy that stops after the test. It connects to 127.0.0.1 whatever host is requested. */
export async function serveProxy({ tls, status, authorization }: HttpProxyOptions = {}): Promise<HttpProxy> {
  const requests: string[] = [];
  const headers: http.IncomingHttpHeaders[] = [];
  const server = tls === undefined ? http.createServer() : https.createServer(tls);
  const sockets = new Set<Duplex>();

  /** @returns the status of the error to send, if any. */
  function refusal(request: http.IncomingMessage): number | undefined {
    requests.push(`${request.method} ${request.url}`);
    headers.push(request.headers);
    const isAuthorized =
      authorization === undefined || request.headers['proxy-authorization'] === authorization;
    return isAuthorized ? status : 407;
  }

  server.on('connection', (socket: net.Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  server.on('connect', (request: http.IncomingMessage, client: Duplex) => {
    client.on('error', () => undefined);
    const refused = refusal(request);
    if (refused !== undefined) {
      return void client.end(`HTTP/1.1 ${refused} Refused\r\ncontent-length: 2\r\n\r\nno`);
    }
    const upstream = net.connect(Number(request.url?.split(':').at(-1)), '127.0.0.1');
    sockets.add(upstream);
    upstream.on('error', () => client.destroy());
    upstream.on('connect', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      client.pipe(upstream).pipe(client);
    });
  });
  server.on('request', (request: http.IncomingMessage, response: http.ServerResponse) => {
    const refused = refusal(request);
    if (refused !== undefined) return void response.writeHead(refused).end('<html>no</html>');
    const { port, host, pathname, search } = new URL(request.url ?? '');
    const { 'proxy-authorization': _, ...forwarded } = request.headers;
    const upstream = http.request(
      {
        host: '127.0.0.1',
        port,
        method: request.method,
        path: `${pathname}${search}`,
        headers: { ...forwarded, host },
      },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      },
    );
    upstream.on('error', () => response.destroy());
    request.pipe(upstream);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`, port, requests, headers };
}
