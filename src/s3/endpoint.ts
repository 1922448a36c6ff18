import net from 'node:net';

import { ReasonedError } from '../api/reasons.ts';
import type { Addressing } from '../api/run.ts';

/** Where the requests for one bucket go: the connection, the `Host` header and the path. */
export interface BucketAddress {
  /** URL of the connection. A trailing dot in its host is kept, because it makes the resolver skip its search list. */
  readonly connection: URL;
  /** The `Host` header: no trailing dot, brackets around IPv6, and no default port. */
  readonly hostHeader: string;
  /** Percent-encoded path of the bucket, without a trailing slash. May be empty. */
  readonly bucketPath: string;
}

/**
 * Uses exactly the endpoint's host name and path; nothing is rewritten for particular providers.
 *
 * @throws {ReasonedError} `AddressingStyle` if virtual-host addressing is required but the endpoint is an IP address.
 */
export function bucketAddress(
  endpoint: string,
  bucket: string,
  addressing: Addressing = 'Path',
): BucketAddress {
  const url = new URL(endpoint);
  const basePath = canonicalPath(url.pathname.replace(/\/+$/, ''));
  if (addressing === 'Path') {
    return {
      connection: url,
      hostHeader: hostHeaderOf(url),
      bucketPath: `${basePath}/${encodeSegment(bucket)}`,
    };
  }
  if (net.isIP(url.hostname.replace(/^\[(.*)\]$/, '$1')) !== 0) {
    throw new ReasonedError(
      'AddressingStyle',
      `addressing VirtualHost requires a host name, and the endpoint ${url.host} is an IP address`,
    );
  }
  const connection = new URL(url);
  connection.hostname = `${bucket}.${url.hostname}`;
  return { connection, hostHeader: hostHeaderOf(connection), bucketPath: basePath };
}

/** Percent-encoded path of an object or, without a key, of the bucket. */
export function pathOf({ bucketPath }: BucketAddress, key?: string): string {
  if (key !== undefined) return `${bucketPath}/${key.split('/').map(encodeSegment).join('/')}`;
  return bucketPath === '' ? '/' : bucketPath;
}

/** Percent-encodes a value of a query. Source: Amazon S3 API Reference, "Signature Calculations", `UriEncode`. */
export function encodeSegment(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** The `Host` header for a URL: no trailing dot, brackets around IPv6, and no default port. */
export function hostHeaderOf({ hostname, host }: URL): string {
  return `${hostname.replace(/\.$/, '')}${host.slice(hostname.length)}`;
}

/** Encodes a path as stores do before they check its signature. URL leaves characters such as `!` unencoded. */
function canonicalPath(path: string): string {
  return path
    .split('/')
    .map((segment) => encodeSegment(decodedSegment(segment)))
    .join('/');
}

function decodedSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
