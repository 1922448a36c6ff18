import { oneLine } from '../api/one-line.ts';
import { ReasonedError } from '../api/reasons.ts';
import type { Credentials, RunTarget } from '../api/run.ts';
import type { Connection } from '../api/target.ts';
import { failedBy, NO_HISTORY } from './answered-by.ts';
import { TextSink } from './body.ts';
import { hostHeaderOf } from './endpoint.ts';
import { networkFault } from './network-faults.ts';
import { Redactor } from './redactor.ts';
import { sha256Hex } from './signer.ts';
import { createTargetTransport, type TargetTransportDeps } from './target-transport.ts';
import { type Exchange, type Transport, TransportError } from './transport.ts';

const OPERATION = 'AssumeRoleWithWebIdentity';
/** Source: AWS Security Token Service API Reference. MinIO uses the same version. */
const API_VERSION = '2011-06-15';
/** Names the prober in the logs of the STS service. */
const SESSION_NAME = 'storage-probe';
/** Longest response that is read. Policies and tokens make the real ones a few kilobytes long. */
const MAX_RESPONSE_BYTES = 64 * 1_024;
/** Longest quoted piece of a response, in characters. */
const MAX_EXCERPT = 160;

export interface StsDeps extends TargetTransportDeps {
  /** Version of storage-probe, sent in the `user-agent` header. */
  readonly version: string;
}

export interface StsRequest {
  readonly roleArn: string | undefined;
  readonly token: string;
  /** The STS service. `endpoint` has no path. */
  readonly connection: Connection;
}

export interface Grant {
  readonly credentials: Credentials;
  /** Wall time, ms since the epoch. */
  readonly expiresAtMs: number;
}

/**
 * Exchanges a web identity token for temporary credentials. The token is sent in the body, because URLs are logged.
 *
 * @throws {ReasonedError} `WebIdentityRejected` if the service refused, or the reason of the network or the server. If
 *   `signal` aborts, the reason is `Timeout`.
 */
export async function assumeRoleWithWebIdentity(
  { roleArn, token, connection }: StsRequest,
  deps: StsDeps,
  signal: AbortSignal,
): Promise<Grant> {
  const endpoint = new URL(connection.endpoint);
  const form = new URLSearchParams({
    Action: OPERATION,
    Version: API_VERSION,
    WebIdentityToken: token,
    ...(roleArn !== undefined && { RoleArn: roleArn, RoleSessionName: SESSION_NAME }),
  });
  const sink = new TextSink(MAX_RESPONSE_BYTES);
  const transport = openTransport(connection, endpoint, deps);
  try {
    const exchange = await transport.send(
      {
        method: 'POST',
        path: '/',
        headers: {
          host: hostHeaderOf(endpoint),
          'user-agent': `storage-probe/${deps.version}`,
          'content-type': 'application/x-www-form-urlencoded',
        },
        body: bodyOf(form.toString()),
        sinkFor: () => sink,
      },
      signal,
    );
    const grant = grantIn(sink.text(), exchange);
    if (grant !== undefined) return grant;
    // A service may quote the token, or a part of it, in an error.
    const text = new Redactor([token]).redact(sink.text());
    return fail(refusalReason(text, exchange), `${endpoint.host} ${refusalDetail(text, exchange)}`);
  } catch (error) {
    if (!(error instanceof TransportError)) throw error;
    const { reason, message } = networkFault(error, {
      host: endpoint.host,
      hasResponded: false,
      hasClientCertificate: connection.tls?.clientCertificate !== undefined,
      by: failedBy(error, NO_HISTORY),
    });
    return fail(reason, message, error);
  } finally {
    transport.close();
  }
}

function openTransport(connection: Connection, endpoint: URL, deps: StsDeps): Transport {
  const service: RunTarget = { ...connection, name: 'STS', credentials: { accessKey: '', secretKey: '' } };
  return createTargetTransport(service, endpoint, deps);
}

function bodyOf(text: string): { sizeBytes: number; sha256: string; chunks: () => Uint8Array[] } {
  const bytes = Buffer.from(text);
  return { sizeBytes: bytes.length, sha256: sha256Hex(bytes), chunks: () => [bytes] };
}

function grantIn(text: string, { status }: Exchange): Grant | undefined {
  if (status !== 200) return undefined;
  const [accessKey, secretKey, sessionToken] = ['AccessKeyId', 'SecretAccessKey', 'SessionToken'].map(
    (name) => element(text, name),
  );
  const expiresAtMs = Date.parse(element(text, 'Expiration') ?? '');
  if (!accessKey || !secretKey || !sessionToken || Number.isNaN(expiresAtMs)) return undefined;
  return { credentials: { accessKey, secretKey, sessionToken }, expiresAtMs };
}

function refusalReason(
  text: string,
  { status = 0 }: Exchange,
): 'WebIdentityRejected' | 'ServerError' | 'NotS3' {
  if (status >= 500) return 'ServerError';
  return element(text, 'Code') === undefined ? 'NotS3' : 'WebIdentityRejected';
}

function refusalDetail(text: string, { status }: Exchange): string {
  const code = element(text, 'Code');
  if (code === undefined) return `returned ${status}, which is not a response of an STS service`;
  const message = element(text, 'Message') ?? '';
  return `returned ${status} ${printable(code)} ${printable(message)}`.trim();
}

function fail(reason: ReasonedError['reason'], detail: string, cause?: unknown): never {
  throw new ReasonedError(reason, `${OPERATION}: ${detail}`, { cause });
}

/** The elements are flat, so an XML parser would only add the risk of entity expansion. */
function element(xml: string, name: string): string | undefined {
  const value = new RegExp(`<${name}>([^<]{1,16384})</${name}>`).exec(xml)?.[1];
  return value
    ?.replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll(/&(apos|#39);/g, "'")
    .replaceAll(/&(#34);/g, '"')
    .replaceAll('&amp;', '&');
}

function printable(text: string): string {
  return oneLine(text, MAX_EXCERPT);
}
