import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';

import type { OtlpSettings } from './otlp-settings.ts';

export type SpokenProtocol = 'http/1' | 'http/2';

/** Client preface and an empty SETTINGS frame. Source: RFC 9113, sections 3.4 and 6.5. */
const HTTP2_PREFACE = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
]);
const HTTP2_SETTINGS_TYPE = 4;
/** A frame header's type is its fourth byte. */
const TYPE_OFFSET = 3;

/**
 * Finds out which protocol the receiver speaks: gRPC uses HTTP/2, and most OTLP/HTTP receivers use HTTP/1.1. Undefined
 * if it cannot be reached or answers with neither. The errors of gRPC and HTTP clients do not reveal which protocol it
 * is.
 */
export async function protocolOf(
  { url, tls }: Pick<OtlpSettings, 'url' | 'tls'>,
  signal: AbortSignal,
): Promise<SpokenProtocol | undefined> {
  const host = url.hostname.replaceAll(/^\[|\]$/g, '');
  const isTls = url.protocol === 'https:';
  const port = Number(url.port) || (isTls ? 443 : 80);
  const socket = isTls
    ? connectTls({ host, port, ...tls, servername: sniOf(host), ALPNProtocols: ['h2', 'http/1.1'] })
    : connectTcp({ host, port });
  const onAbort = (): void => {
    socket.destroy();
  };
  // Errors are reported to the pending once() or, later, to nobody.
  socket.on('error', () => undefined);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    signal.throwIfAborted();
    return await (isTls ? negotiated(socket as TLSSocket, signal) : answerToPreface(socket, signal));
  } catch {
    return undefined;
  } finally {
    signal.removeEventListener('abort', onAbort);
    socket.destroy();
  }
}

/** Server name indication is only for names. */
function sniOf(host: string): string {
  return /^[\d.]+$|:/.test(host) ? '' : host;
}

async function negotiated(socket: TLSSocket, signal: AbortSignal): Promise<SpokenProtocol> {
  await once(socket, 'secureConnect', { signal });
  return socket.alpnProtocol === 'h2' ? 'http/2' : 'http/1';
}

async function answerToPreface(socket: Socket, signal: AbortSignal): Promise<SpokenProtocol | undefined> {
  await once(socket, 'connect', { signal });
  socket.write(HTTP2_PREFACE);
  const closed = once(socket, 'close', { signal }).then(() => [Buffer.alloc(0)]);
  const [answer] = (await Promise.race([once(socket, 'data', { signal }), closed])) as [Buffer];
  if (answer.toString('latin1').startsWith('HTTP/1.')) return 'http/1';
  return answer[TYPE_OFFSET] === HTTP2_SETTINGS_TYPE ? 'http/2' : undefined;
}
