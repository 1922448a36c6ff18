import { createHmac, createSecretKey, hash, type KeyObject } from 'node:crypto';

import type { Credentials } from '../api/run.ts';

/** Hex SHA-256 of an empty body. */
export const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

export interface UnsignedRequest {
  readonly method: string;
  /** The `Host` header as sent: `host` or `host:port`. */
  readonly host: string;
  /** Percent-encoded path, without a query. */
  readonly path: string;
  /** Percent-encoded query without the `?`. May be empty. */
  readonly query: string;
  /** Hex SHA-256 of the body, or `UNSIGNED-PAYLOAD`. */
  readonly payloadSha256: string;
  /** Further `x-amz-` headers of the request. All of them must be signed. */
  readonly amzHeaders?: Readonly<Record<string, string>> | undefined;
}

/**
 * Signs S3 requests with AWS Signature Version 4 in the `Authorization` header. The signing key is derived once a day
 * rather than per request. Only `host` and the `x-amz-*` headers are signed. Proxies can change other
 * headers, and `traceparent` can be added, without breaking the signature.
 *
 * Source: Amazon S3 API Reference, "Authenticating Requests: Using the Authorization Header".
 */
export class Signer {
  readonly #credentials: Credentials;
  readonly #region: string;
  #second = Number.NaN;
  #timestamp = '';
  #day = '';
  #key: KeyObject | undefined;

  constructor(credentials: Credentials, region: string) {
    this.#credentials = credentials;
    this.#region = region;
  }

  /**
   * @param nowMs wall time of the signature, ms since the epoch.
   * @returns the headers to add to the request, including `authorization`.
   */
  sign(request: UnsignedRequest, nowMs: number): Record<string, string> {
    const timestamp = this.#timestampOf(nowMs);
    const day = timestamp.slice(0, 8);
    const scope = `${day}/${this.#region}/s3/aws4_request`;
    const { accessKey, sessionToken } = this.#credentials;

    let signed: Record<string, string> = {
      'x-amz-content-sha256': request.payloadSha256,
      'x-amz-date': timestamp,
    };
    if (sessionToken !== undefined) signed['x-amz-security-token'] = sessionToken;
    if (request.amzHeaders !== undefined) signed = sorted({ ...signed, ...request.amzHeaders });

    let headerLines = `host:${request.host}\n`;
    let headerNames = 'host';
    for (const name in signed) {
      headerLines += `${name}:${signed[name]}\n`;
      headerNames += `;${name}`;
    }
    const canonicalRequest = `${request.method}\n${request.path}\n${canonicalQuery(request.query)}\n${headerLines}\n${headerNames}\n${request.payloadSha256}`;
    const stringToSign = `AWS4-HMAC-SHA256\n${timestamp}\n${scope}\n${sha256Hex(canonicalRequest)}`;
    const signature = createHmac('sha256', this.#signingKey(day)).update(stringToSign).digest('hex');

    signed['authorization'] =
      `AWS4-HMAC-SHA256 Credential=${accessKey}/${scope}, SignedHeaders=${headerNames}, Signature=${signature}`;
    return signed;
  }

  /** Formats the time as `20261122T190147Z`. Cached, because several calls of a run often start in the same second. */
  #timestampOf(nowMs: number): string {
    const second = Math.floor(nowMs / 1_000);
    if (second === this.#second) return this.#timestamp;
    const iso = new Date(nowMs).toISOString();
    this.#second = second;
    this.#timestamp = `${iso.slice(0, 4)}${iso.slice(5, 7)}${iso.slice(8, 13)}${iso.slice(14, 16)}${iso.slice(17, 19)}Z`;
    return this.#timestamp;
  }

  #signingKey(day: string): KeyObject {
    if (this.#key !== undefined && day === this.#day) return this.#key;
    let key = createSecretKey(`AWS4${this.#credentials.secretKey}`, 'utf8');
    for (const part of [day, this.#region, 's3', 'aws4_request']) key = derive(key, part);
    this.#key = key;
    this.#day = day;
    return key;
  }
}

function sorted(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function canonicalQuery(query: string): string {
  if (query === '') return '';
  return query
    .split('&')
    .map((pair) => (pair.includes('=') ? pair : `${pair}=`))
    .toSorted()
    .join('&');
}

/** Returns a key object because an HMAC with a buffer as key would create one each time. */
function derive(key: KeyObject, part: string): KeyObject {
  return createSecretKey(createHmac('sha256', key).update(part).digest());
}

export function sha256Hex(data: string | Buffer): string {
  return hash('sha256', data, 'hex');
}
