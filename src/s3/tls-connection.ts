import net from 'node:net';
import tls from 'node:tls';

export interface TlsOptions {
  /** Name or address that the certificate must cover. */
  readonly name: string;
  readonly secureContext: tls.SecureContext | undefined;
  readonly signal: AbortSignal;
  /** Called during the handshake and if it failed. */
  readonly onProgress?: (socket: tls.TLSSocket) => void;
}

/** Makes a TLS handshake over a connection. Rejects with `signal.reason` if the signal aborts. */
export function startTls(
  socket: net.Socket,
  { name, secureContext, signal, onProgress }: TlsOptions,
): Promise<tls.TLSSocket> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const secure = tls.connect({
      socket,
      host: name,
      // SNI has no addresses. Source: RFC 6066 section 3.
      ...(net.isIP(name) === 0 && { servername: name }),
      ALPNProtocols: ['http/1.1'],
      ...(secureContext !== undefined && { secureContext }),
    });
    const onAbort = (): void => {
      secure.destroy();
      reject(signal.reason as Error);
    };
    const onError = (error: Error): void => {
      signal.removeEventListener('abort', onAbort);
      onProgress?.(secure);
      reject(error);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    // When the server closes the connection, the state of the handshake is gone.
    if (onProgress !== undefined) secure.once('keylog', () => onProgress(secure));
    secure.on('error', onError);
    secure.once('secureConnect', () => {
      signal.removeEventListener('abort', onAbort);
      secure.off('error', onError);
      resolve(secure);
    });
  });
}
