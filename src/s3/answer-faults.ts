import { oneLine } from '../api/one-line.ts';
import type { Reason } from '../api/reasons.ts';
import type { Fault } from './s3-error.ts';
import { type Exchange, header } from './transport.ts';

/** Longest piece of an answer that is repeated in a message, in characters. */
const MAX_EXCERPT = 160;

/** Source: Amazon S3 API Reference, "Error responses": `RequestTimeTooSkewed`. */
const MAX_SKEW_MS = 15 * 60 * 1_000;

/**
 * The codes of S3 and MinIO, by the reason they give. Sources: Amazon S3 API Reference, "Error responses"; MinIO
 * `cmd/api-errors.go`, where `SlowDownRead` and `SlowDownWrite` stand for a lost quorum.
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

/** An answer that is not the one hoped for. */
export interface Answer {
  readonly exchange: Exchange;
  /** Start of the body; empty for HEAD. */
  readonly text: string;
  /** Wall time at which the request was signed, ms since the epoch. */
  readonly signedAtMs: number;
}

/** True when what answered 2xx is no S3 server: a login page, a proxy's own page. */
export function isForeign(exchange: Exchange): boolean {
  const type = header(exchange, 'content-type') ?? '';
  return type.startsWith('text/html') && header(exchange, 'x-amz-request-id') === undefined;
}

/** Says why the store, or what stands before it, refused. */
export function answerFault(answer: Answer): Fault {
  const { exchange, text } = answer;
  const status = exchange.status ?? 0;
  const given = element(text, 'Code') ?? header(exchange, 'x-minio-error-code');
  const code = given === undefined ? undefined : printable(given);
  const reason = reasonOf(answer, code);
  return {
    reason,
    code,
    message: [`${status}`, code, detailOf(answer, reason)].filter(Boolean).join(' '),
  };
}

function reasonOf({ exchange, text, signedAtMs }: Answer, code: string | undefined): Reason {
  const status = exchange.status ?? 0;
  const known = code === undefined ? undefined : REASON_OF_S3_CODE.get(code);
  if (known !== undefined) return known;
  if (status === 301 && header(exchange, 'x-amz-bucket-region') !== undefined) return 'RegionMismatch';
  if (status >= 300 && status < 400) return 'Redirected';
  if (code === undefined && (text !== '' || isForeign(exchange))) return 'NotS3';
  if (code === undefined && status === 400 && header(exchange, 'x-amz-request-id') === undefined)
    return 'NotS3';
  // MinIO answers a skewed HEAD without a body, and without a code in a header.
  if (status === 403 && Math.abs(skewMs(exchange, signedAtMs)) > MAX_SKEW_MS) return 'ClockSkew';
  if (status === 507) return 'StorageFull';
  if (status === 429) return 'SlowDown';
  if (status >= 500) return 'ServerError';
  if (status === 401 || status === 403) return 'AccessDenied';
  return 'RequestRejected';
}

function detailOf({ exchange, text, signedAtMs }: Answer, reason: Reason): string {
  const requestId = header(exchange, 'x-amz-request-id');
  const suffix = requestId === undefined ? '' : ` (request id ${printable(requestId)})`;
  if (reason === 'ClockSkew') return `${skewOf(exchange, signedAtMs)}${suffix}`;
  if (reason === 'Redirected')
    return `to ${printable(header(exchange, 'location') ?? element(text, 'Endpoint') ?? 'nowhere')}`;
  if (reason === 'RegionMismatch') {
    const region = element(text, 'Region') ?? header(exchange, 'x-amz-bucket-region');
    if (region !== undefined) return `the store is in region ${printable(region)}${suffix}`;
  }
  if (reason === 'NotS3') return notS3(exchange, text);
  const said = element(text, 'Message') ?? header(exchange, 'x-minio-error-desc');
  return `${said === undefined ? '' : printable(said)}${suffix}`.trim();
}

function skewOf(exchange: Exchange, signedAtMs: number): string {
  const seconds = Math.round(skewMs(exchange, signedAtMs) / 1_000);
  if (Number.isNaN(seconds)) return 'the clocks differ';
  return `the store's clock is ${Math.abs(seconds)} s ${seconds < 0 ? 'behind' : 'ahead of'} the prober's`;
}

/** The store's clock minus ours; not a number where the answer has no date. */
function skewMs(exchange: Exchange, signedAtMs: number): number {
  return Date.parse(header(exchange, 'date') ?? '') - signedAtMs;
}

function notS3(exchange: Exchange, text: string): string {
  const type = header(exchange, 'content-type') ?? 'no content type';
  const server = header(exchange, 'server');
  const from = server === undefined ? '' : ` from ${printable(server)}`;
  const title = printable(/<title>([^<]*)<\/title>/i.exec(text)?.[1] ?? text.replaceAll(/<[^<>]*>/g, ' '));
  return `${printable(type)}${from}, not S3${title === '' ? '' : `: "${title}"`}`;
}

/** S3's errors are one flat element; a parser would bring entity expansion with it. */
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

/** A bounded piece of foreign text on one line; in quotation marks that are not doubled. */
function printable(text: string): string {
  return oneLine(text, MAX_EXCERPT).replace(/^"(.*)"$/, '$1');
}
