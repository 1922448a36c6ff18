import { oneLine } from '../api/one-line.ts';
import type { Reason } from '../api/reasons.ts';
import type { Fault } from './s3-error.ts';
import { type Exchange, header } from './transport.ts';

/** Longest piece of a response that a message quotes, in characters. */
const MAX_EXCERPT = 160;

/** Source: Amazon S3 API Reference, "Error responses": `RequestTimeTooSkewed`. */
const MAX_SKEW_MS = 15 * 60 * 1_000;

/**
 * Reasons by error code of S3 and MinIO. In MinIO, `SlowDownRead` and `SlowDownWrite` mean that quorum was lost.
 * Sources: Amazon S3 API Reference, "Error responses"; MinIO `cmd/api-errors.go`.
 */
const REASON_OF_S3_CODE: ReadonlyMap<string, Reason> = new Map(
  Object.entries<Reason>({
    InvalidAccessKeyId: 'InvalidAccessKey',
    XMinioInvalidAccessKeyId: 'InvalidAccessKey',
    SignatureDoesNotMatch: 'SignatureMismatch',
    RequestTimeTooSkewed: 'ClockSkew',
    RequestExpired: 'ClockSkew',
    ExpiredToken: 'CredentialsExpired',
    InvalidToken: 'CredentialsExpired',
    InvalidTokenId: 'CredentialsExpired',
    TokenRefreshRequired: 'CredentialsExpired',
    AccessDenied: 'AccessDenied',
    AllAccessDisabled: 'AccessDenied',
    AccountProblem: 'AccessDenied',
    UnauthorizedAccess: 'AccessDenied',
    AuthorizationHeaderMalformed: 'RegionMismatch',
    IllegalLocationConstraintException: 'RegionMismatch',
    InvalidRegion: 'RegionMismatch',
    InvalidLocationConstraint: 'RegionMismatch',
    PermanentRedirect: 'Redirected',
    TemporaryRedirect: 'Redirected',
    NoSuchBucket: 'BucketMissing',
    NoSuchKey: 'ObjectMissing',
    NoSuchVersion: 'ObjectMissing',
    BucketAlreadyExists: 'BucketConflict',
    BucketAlreadyOwnedByYou: 'BucketConflict',
    BucketNotEmpty: 'BucketConflict',
    BadDigest: 'ContentMismatch',
    XAmzContentSHA256Mismatch: 'ContentMismatch',
    IncompleteBody: 'ContentMismatch',
    SlowDown: 'SlowDown',
    ServerBusy: 'SlowDown',
    TooManyRequests: 'SlowDown',
    RequestLimitExceeded: 'SlowDown',
    Throttling: 'SlowDown',
    ThrottlingException: 'SlowDown',
    SlowDownRead: 'QuorumLost',
    SlowDownWrite: 'QuorumLost',
    XMinioStorageFull: 'StorageFull',
    XMinioAdminBucketQuotaExceeded: 'StorageFull',
    QuotaExceeded: 'StorageFull',
    XMinioServerNotInitialized: 'ServerNotReady',
    XMinioIAMNotInitialized: 'ServerNotReady',
    XMinioBucketMetadataNotInitialized: 'ServerNotReady',
    InternalError: 'ServerError',
    ServiceUnavailable: 'ServerError',
  }),
);

export interface UnexpectedResponse {
  readonly exchange: Exchange;
  /** Start of the body. Empty for HEAD. */
  readonly text: string;
  /** Wall time of the signature, ms since the epoch. */
  readonly signedAtMs: number;
}

/** True for a response that did not come from an S3 server, such as a login page or a proxy's error page. */
export function isNotS3(exchange: Exchange): boolean {
  const type = header(exchange, 'content-type') ?? '';
  return type.startsWith('text/html') && header(exchange, 'x-amz-request-id') === undefined;
}

/** Derives the fault from an unexpected response of the store or of a proxy in front of it. */
export function responseFault(response: UnexpectedResponse): Fault {
  const { exchange, text } = response;
  const status = exchange.status ?? 0;
  const rawCode = element(text, 'Code') ?? header(exchange, 'x-minio-error-code');
  const code = rawCode === undefined ? undefined : printable(rawCode);
  const reason = reasonOf(response, code);
  return {
    reason,
    code,
    message: [`${status}`, code, detailOf(response, reason)].filter(Boolean).join(' '),
  };
}

function reasonOf({ exchange, text, signedAtMs }: UnexpectedResponse, code: string | undefined): Reason {
  const status = exchange.status ?? 0;
  const reasonOfCode = code === undefined ? undefined : REASON_OF_S3_CODE.get(code);
  if (reasonOfCode !== undefined) return reasonOfCode;
  if (status === 301 && header(exchange, 'x-amz-bucket-region') !== undefined) return 'RegionMismatch';
  if (status >= 300 && status < 400) return 'Redirected';
  if (code === undefined && (text !== '' || isNotS3(exchange))) return 'NotS3';
  if (code === undefined && status === 400 && header(exchange, 'x-amz-request-id') === undefined)
    return 'NotS3';
  // If the clocks differ too much, MinIO responds to HEAD with neither a body nor an error code header.
  if (status === 403 && Math.abs(skewMs(exchange, signedAtMs)) > MAX_SKEW_MS) return 'ClockSkew';
  if (status === 507) return 'StorageFull';
  if (status === 429) return 'SlowDown';
  if (status >= 500) return 'ServerError';
  if (status === 401 || status === 403) return 'AccessDenied';
  return 'RequestRejected';
}

function detailOf({ exchange, text, signedAtMs }: UnexpectedResponse, reason: Reason): string {
  const requestId = header(exchange, 'x-amz-request-id');
  const suffix = requestId === undefined ? '' : ` (request ID ${printable(requestId)})`;
  if (reason === 'ClockSkew') return `${skewDetail(exchange, signedAtMs)}${suffix}`;
  if (reason === 'Redirected') {
    const location = header(exchange, 'location') ?? element(text, 'Endpoint') ?? 'an unknown location';
    return `pointing to ${printable(location)}`;
  }
  if (reason === 'RegionMismatch') {
    const region = element(text, 'Region') ?? header(exchange, 'x-amz-bucket-region');
    if (region !== undefined) return `the store is in region ${printable(region)}${suffix}`;
  }
  if (reason === 'NotS3') return notS3Detail(exchange, text);
  const description = element(text, 'Message') ?? header(exchange, 'x-minio-error-desc');
  return `${description === undefined ? '' : printable(description)}${suffix}`.trim();
}

function skewDetail(exchange: Exchange, signedAtMs: number): string {
  const seconds = Math.round(skewMs(exchange, signedAtMs) / 1_000);
  if (Number.isNaN(seconds)) return 'the clocks differ';
  return `the store's clock is ${Math.abs(seconds)} s ${seconds < 0 ? 'behind' : 'ahead of'} the prober's`;
}

/** The store's clock minus the prober's. NaN if the response has no date. */
function skewMs(exchange: Exchange, signedAtMs: number): number {
  return Date.parse(header(exchange, 'date') ?? '') - signedAtMs;
}

function notS3Detail(exchange: Exchange, text: string): string {
  const type = header(exchange, 'content-type') ?? 'no content type';
  const server = header(exchange, 'server');
  const from = server === undefined ? '' : ` from ${printable(server)}`;
  const title = printable(/<title>([^<]*)<\/title>/i.exec(text)?.[1] ?? text.replaceAll(/<[^<>]*>/g, ' '));
  return `is not an S3 response (${printable(type)}${from})${title === '' ? '' : `: "${title}"`}`;
}

/** S3 errors are a single flat element. An XML parser would only add the risk of entity expansion. */
function element(xml: string, name: string): string | undefined {
  const value = new RegExp(`<${name}>([^<]{1,1024})</${name}>`).exec(xml)?.[1];
  if (value === undefined || !xml.includes('<Error')) return undefined;
  return value
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&apos;', "'")
    .replaceAll('&amp;', '&');
}

/** Returns one bounded line of foreign text, without enclosing quotation marks. */
function printable(text: string): string {
  return oneLine(text, MAX_EXCERPT).replace(/^"(.*)"$/, '$1');
}
