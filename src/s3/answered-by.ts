import { isTimeout } from './is-timeout.ts';
import {
  codeOf,
  isClientCertificateFailure,
  isHttpError,
  isProberCode,
  isTlsCode,
} from './network-faults.ts';
import { isS3Document } from './s3-document.ts';
import { type Exchange, header, type TransportError } from './transport.ts';

/** Who decided the outcome of a call. */
export type Answerer =
  | 'nobody'
  | 'resolver'
  | 'network'
  | 'TLS peer'
  | 'proxy'
  | 'other service'
  | 'S3 store'
  | 'prober';

export interface Answer {
  readonly by: Answerer;
  /** True if this response itself proves that an S3 store sent it. */
  readonly provesS3: boolean;
}

/** A complete response. */
export interface Response {
  readonly method: string;
  readonly isObject: boolean;
  readonly exchange: Exchange;
  /** Start of the body. Empty for HEAD, and for the content of an object. */
  readonly text: string;
}

/** What earlier calls of the run have shown about the endpoint. */
export interface EndpointHistory {
  /** An S3 store has responded. */
  readonly provedS3: boolean;
  /** Every response of the store has had a request ID so far. */
  readonly sendsRequestIds: boolean;
  /** Something has responded. */
  readonly hasResponded: boolean;
}

export const NO_HISTORY: EndpointHistory = { provedS3: false, sendsRequestIds: false, hasResponded: false };

/** Decides who caused an exchange to fail without a complete response. */
export function failedBy(error: TransportError, history: EndpointHistory): Answerer {
  const { cause, phase } = error;
  const code = codeOf(cause);
  if (phase === 'waitMs') return 'prober';
  if (phase === 'dnsMs' && isTimeout(cause)) return 'resolver';
  if (isTimeout(cause)) return 'nobody';
  if (isProberCode(cause)) return 'prober';
  if (isHttpError(cause)) return history.provedS3 ? 'proxy' : 'other service';
  if (phase === 'dnsMs') return 'resolver';
  if (phase === 'proxyMs') return 'proxy';
  if (phase === 'tlsMs' || isTlsCode(code) || isClientCertificateFailure(error)) return 'TLS peer';
  return 'network';
}

/**
 * Decides who sent a response. Evidence of S3 is a header that only S3 stores send, an S3 document, or the ETag of a
 * stored object. The content type of a response without a body proves nothing. Without evidence for or against S3, the
 * answer is `S3 store`, with `provesS3` false.
 */
export function answeredBy(response: Response, history: EndpointHistory): Answer {
  const { exchange, text } = response;
  const status = exchange.status ?? 0;
  if (isAzure(exchange)) return { by: 'other service', provesS3: false };
  if (hasS3Evidence(response)) return { by: 'S3 store', provesS3: true };
  if (isNginxClientCertificateError(text)) return { by: 'TLS peer', provesS3: false };
  if (PROXY_STATUSES.has(status)) return { by: 'proxy', provesS3: false };
  if (looksLikeS3(response, history)) return { by: 'S3 store', provesS3: false };
  const isProxy = history.provedS3 || isRedirect(status) || isRefusalOfForwardProxy(exchange);
  return { by: isProxy ? 'proxy' : 'other service', provesS3: false };
}

export function hasRequestId(headers: Exchange['headers']): boolean {
  return REQUEST_ID_HEADERS.some((name) => headers[name] !== undefined);
}

function looksLikeS3(response: Response, { provedS3, sendsRequestIds }: EndpointHistory): boolean {
  const { method, exchange, text } = response;
  const { status = 0, bytesReceived } = exchange;
  if (status < 300) return isSilentSuccess(response);
  if (isRedirect(status) && header(exchange, 'location') !== undefined) return false;
  // A store that identifies its responses would have identified this one.
  if (provedS3 && sendsRequestIds) return false;
  if (method === 'HEAD') return true;
  // S3 errors have a body. Simple stores send none when they refuse access.
  return (
    text === '' && bytesReceived === 0 && (status === 401 || status === 403 || (provedS3 && status !== 404))
  );
}

/** A success that does not show who sent it: without a body, or with the content of an object. */
function isSilentSuccess({ method, isObject, exchange }: Response): boolean {
  if (method === 'HEAD' || exchange.bytesReceived === 0) return true;
  return method === 'GET' && isObject && !isHtml(exchange);
}

function hasS3Evidence({ method, isObject, exchange, text }: Response): boolean {
  const { status = 0, headers } = exchange;
  if (hasRequestId(headers)) return true;
  for (const name in headers) {
    if (S3_HEADERS.has(name) || STORE_HEADER.test(name)) return true;
  }
  if (method === 'PUT' && isObject && status < 300 && headers.etag !== undefined) return true;
  return isS3Document(text);
}

export function isHtml(exchange: Exchange): boolean {
  return (header(exchange, 'content-type') ?? '').startsWith('text/html');
}

/** Azure Blob Storage has error documents like S3's. */
function isAzure({ headers }: Exchange): boolean {
  return headers['x-ms-request-id'] !== undefined;
}

/**
 * nginx requests the client certificate as optional. If the client sends none, nginx responds with status 400 and a
 * fixed page.
 */
function isNginxClientCertificateError(text: string): boolean {
  return text.includes('No required SSL certificate was sent') || text.includes('SSL certificate error');
}

/** A proxy that forwards requests itself refuses them with status 403. Through a tunnel, the response is not its own. */
function isRefusalOfForwardProxy({ status, proxy, tlsProtocol }: Exchange): boolean {
  return status === 403 && proxy !== undefined && tlsProtocol === undefined;
}

function isRedirect(status: number): boolean {
  return status >= 300 && status < 400;
}

const REQUEST_ID_HEADERS = ['x-amz-request-id', 'x-oss-request-id', 'x-cos-request-id', 'x-obs-request-id'];

/** Headers that only S3 stores send. CloudFront, API Gateway and load balancers send other `x-amz-` headers. */
const S3_HEADERS: ReadonlySet<string> = new Set([
  'x-amz-id-2',
  'x-amz-bucket-region',
  'x-amz-version-id',
  'x-amz-delete-marker',
  'x-amz-object-lock-mode',
  'x-amz-server-side-encryption',
  'x-guploader-uploadid',
]);

const STORE_HEADER = /^x-(minio|rgw|garage|oss|cos|obs)-/;

/**
 * Statuses with which a proxy reports on the server behind it or on itself. 52x and 530 are Cloudflare's. If a store
 * responds with one of these statuses, the response contains evidence of S3.
 */
const PROXY_STATUSES: ReadonlySet<number> = new Set([
  407, 408, 413, 421, 426, 429, 431, 451, 499, 502, 503, 504, 511, 520, 521, 522, 523, 524, 525, 526, 527,
  530,
]);
