import type { OutgoingHttpHeaders } from 'node:http';
import type { RequestOptions } from 'node:https';

import type { KubeConfig } from '@kubernetes/client-node';
import { Agent, type buildConnector, type Dispatcher, ProxyAgent, Socks5ProxyAgent } from 'undici';

import type { HeaderValue } from './impersonation.ts';
import { KubeError } from './kube-client.ts';
import type { KubeUser } from './kube-config.ts';
import { oneLine } from '../api/one-line.ts';

export type Tls = buildConnector.BuildOptions;

/** Current credentials and TLS settings for requests to the API server. */
export interface Credentials {
  /** Request headers, such as `Authorization`. */
  readonly headers: Readonly<Record<string, HeaderValue>>;
  readonly tls: Tls;
}

/** Shorter than the API server's idle timeout of 90 s. Source: apiserver, `secure_serving.go`. */
const IDLE_TIMEOUT_MS = 60_000;

/** Idle time before the first TCP keep-alive probe. These probes detect a dead server. Source: client-go's dialer. */
const KEEP_ALIVE_PROBE_MS = 30_000;

/** @throws {KubeError} `CredentialsFailed` if a file is missing or the kubeconfig's exec command fails. */
export async function resolveCredentials(config: KubeConfig): Promise<Credentials> {
  const options: RequestOptions = {};
  try {
    await config.applyToHTTPSOptions(options);
  } catch (error) {
    // No `cause`, because the original error may quote the command's output, which contains a token.
    throw new KubeError(`cannot get credentials for the API server: ${messageOf(error)}`, {
      status: 0,
      reason: 'CredentialsFailed',
    });
  }
  const { ca, cert, key, servername, rejectUnauthorized, auth } = options;
  const tls = { ca, cert, key, servername, rejectUnauthorized };
  const basicAuth =
    typeof auth !== 'string' ? {} : { Authorization: `Basic ${Buffer.from(auth).toString('base64')}` };
  const headers = options.headers as OutgoingHttpHeaders | undefined;
  const user: KubeUser | null = config.getCurrentUser();
  return {
    tls: Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined)) as Tls,
    headers: {
      ...Object.fromEntries(
        Object.entries({ ...basicAuth, ...headers }).map(([name, value]) => [name, String(value).trim()]),
      ),
      ...user?.impersonationHeaders,
    },
  };
}

/**
 * Creates a pool of connections to the API server.
 * @param connections while all of them are busy, further requests wait. Null means no limit.
 */
export function createDispatcher(
  tls: Tls,
  proxyUrl: string | undefined,
  connections: number | null,
): Dispatcher {
  const options = {
    connections,
    // With pipelining, a watch would block later requests.
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: IDLE_TIMEOUT_MS,
    // Each request has its own deadline, and a watch may be silent for a long time.
    headersTimeout: 0,
    bodyTimeout: 0,
  };
  const connect = { ...tls, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_PROBE_MS };
  if (proxyUrl === undefined) return new Agent({ ...options, connect });
  if (proxyUrl.startsWith('socks'))
    return new Socks5ProxyAgent(proxyUrl, { ...options, requestTls: connect });
  return new ProxyAgent({ ...options, uri: proxyUrl, requestTls: connect });
}

function messageOf(error: unknown): string {
  if (error instanceof SyntaxError) return "the output of the kubeconfig's exec command is not JSON";
  return oneLine(error instanceof Error ? error.message : String(error));
}
