import type { OutgoingHttpHeaders } from 'node:http';
import type { RequestOptions } from 'node:https';

import type { KubeConfig } from '@kubernetes/client-node';
import { Agent, type buildConnector, type Dispatcher, ProxyAgent, Socks5ProxyAgent } from 'undici';

import { KubeError } from './kube-client.ts';
import { oneLine } from './one-line.ts';

export type Tls = buildConnector.BuildOptions;

/** What a request to the API server needs at this moment. */
export interface Access {
  /** Credentials. */
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: Tls;
}

/** Each watch holds one; a request that finds all of them busy waits for its turn within its deadline. */
const MAX_CONNECTIONS = 32;

/** Idle connections are closed before the API server closes them, after 90 s. Source: apiserver, `secure_serving.go`. */
const IDLE_TIMEOUT_MS = 60_000;

/** A server that vanishes without a word is noticed by TCP. Source: client-go's dialer has the same 30 s. */
const KEEP_ALIVE_PROBE_MS = 30_000;

/** @throws {KubeError} `CredentialsFailed`: a file is missing, or the kubeconfig's command failed. */
export async function readAccess(config: KubeConfig): Promise<Access> {
  const options: RequestOptions = {};
  try {
    await config.applyToHTTPSOptions(options);
  } catch (error) {
    // Not as its cause: it may quote what the command printed, and that is a token.
    throw new KubeError(`no credentials for the API server: ${whyOf(error)}`, {
      status: 0,
      reason: 'CredentialsFailed',
    });
  }
  const { ca, cert, key, servername, rejectUnauthorized, auth } = options;
  const tls = { ca, cert, key, servername, rejectUnauthorized };
  const basic =
    typeof auth !== 'string' ? {} : { Authorization: `Basic ${Buffer.from(auth).toString('base64')}` };
  const headers = options.headers as OutgoingHttpHeaders | undefined;
  return {
    tls: Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined)) as Tls,
    headers: Object.fromEntries(
      Object.entries({ ...basic, ...headers }).map(([name, value]) => [name, String(value).trim()]),
    ),
  };
}

/** All connections to the API server. */
export function makeDispatcher(tls: Tls, proxyUrl: string | undefined): Dispatcher {
  const options = {
    connections: MAX_CONNECTIONS,
    // A watch would hold up what comes after it.
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: IDLE_TIMEOUT_MS,
    // Deadlines are the requests' own, and a watch may be silent for long.
    headersTimeout: 0,
    bodyTimeout: 0,
  };
  const connect = { ...tls, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_PROBE_MS };
  if (proxyUrl === undefined) return new Agent({ ...options, connect });
  if (proxyUrl.startsWith('socks'))
    return new Socks5ProxyAgent(proxyUrl, { ...options, requestTls: connect });
  return new ProxyAgent({ ...options, uri: proxyUrl, requestTls: connect });
}

function whyOf(error: unknown): string {
  if (error instanceof SyntaxError) return "the answer of the kubeconfig's command is not JSON";
  return oneLine(error instanceof Error ? error.message : String(error));
}
