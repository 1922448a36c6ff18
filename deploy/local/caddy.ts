import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { getBinary } from './binary.ts';
import { startServer, type RunningServer, type StartOptions } from './running-server.ts';

export interface CaddyOptions extends StartOptions {
  /** Plain HTTP server that receives the requests, with their Host header unchanged. */
  readonly upstreamUrl: string;
  /** Host name of the proxy. Its subdomains are served as well. */
  readonly host: string;
  /** Certificate and key of the proxy, PEM. */
  readonly tls: { readonly cert: string; readonly key: string };
  /** Authority that must have issued the client's certificate, PEM. */
  readonly clientCa: string;
}

export interface Caddy extends RunningServer {
  readonly url: string;
}

/** Starts Caddy as a proxy that requires client certificates and closes each connection after one response. */
export async function startCaddy(options: CaddyOptions): Promise<Caddy> {
  const { dir, upstreamUrl, host, tls, clientCa, signal, progress } = options;
  await mkdir(dir, { recursive: true });
  const file = (name: string): string => join(dir, name);
  await writeFile(file('server.pem'), tls.cert);
  await writeFile(file('server-key.pem'), tls.key, { mode: 0o600 });
  await writeFile(file('client-ca.pem'), clientCa);
  return startServer({
    name: 'Caddy',
    binary: await getBinary('caddy', { signal, progress }),
    logFile: file('caddy.log'),
    signal,
    async command(choosePort) {
      const port = await choosePort();
      const healthPort = await choosePort();
      const configuration = `{
  admin off
  auto_https off
  persist_config off
}
http://127.0.0.1:${healthPort} {
  respond 200
}
https://${host}:${port}, https://*.${host}:${port} {
  bind 127.0.0.1
  tls ${file('server.pem')} ${file('server-key.pem')} {
    client_auth {
      mode require_and_verify
      trust_pool file ${file('client-ca.pem')}
    }
  }
  header Connection close
  reverse_proxy ${upstreamUrl}
}
`;
      await writeFile(file('Caddyfile'), configuration);
      return {
        args: ['run', '--adapter=caddyfile', `--config=${file('Caddyfile')}`],
        // Caddy keeps its state in the user's home directory otherwise.
        env: { XDG_DATA_HOME: dir, XDG_CONFIG_HOME: dir },
        healthUrls: [`http://127.0.0.1:${healthPort}`],
        addresses: { url: `https://${host}:${port}` },
      };
    },
  });
}
