import { connect, type Socket } from 'node:net';

import { handSignedRun, type Answer, type SignedRequest } from './hand-signed.ts';
import { serve } from './serve.ts';
import { readSettings } from './settings.ts';

const settings = readSettings();
const { hostname, port, host } = new URL(settings.endpoint);
let socket: Socket | undefined;

/** Implements only the HTTP/1.1 that these eight responses need: a content-length, or no body. */
function send(request: SignedRequest): Promise<Answer> {
  const { method, path, headers, body } = request;
  let head = `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\n`;
  for (let i = 0; i < headers.length; i += 2) head += `${headers[i]}: ${headers[i + 1]}\r\n`;
  if (method === 'PUT') head += `content-length: ${body?.length ?? 0}\r\n`;

  const connection = (socket ??= connectToStore());
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0);
    connection.removeAllListeners();
    connection.on('error', reject);
    connection.on('close', () => {
      socket = undefined;
      reject(new Error('the connection was closed'));
    });
    connection.on('data', (chunk) => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      const headEnd = received.indexOf('\r\n\r\n');
      if (headEnd === -1) return;
      const answerHead = received.toString('latin1', 0, headEnd);
      const hasBody = method !== 'HEAD';
      const bodyBytes = hasBody ? Number(/content-length: (\d+)/i.exec(answerHead)?.[1] ?? 0) : 0;
      if (received.length < headEnd + 4 + bodyBytes) return;
      resolve({ status: Number(answerHead.slice(9, 12)), body: received.subarray(headEnd + 4) });
    });
    const bytes = Buffer.from(`${head}\r\n`, 'latin1');
    connection.write(body === null ? bytes : Buffer.concat([bytes, body]));
  });
}

function connectToStore(): Socket {
  return connect({ host: hostname, port: Number(port), noDelay: true });
}

await serve(settings.warmUpRuns, handSignedRun(settings, send));
socket?.destroy();
