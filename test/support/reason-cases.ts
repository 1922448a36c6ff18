import type http from 'node:http';

import type { Reason } from '../../src/api/reasons.ts';
import type { BucketPlan, Phases } from '../../src/api/run.ts';
import type { OperationName } from '../../src/s3/operations.ts';

/** A response, and the reason for which a call fails that gets it. */
export interface ResponseCase {
  readonly reason: Reason;
  /** The response in words, for the reference page. */
  readonly answer: string;
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly text?: string;
  /** Default: `GetObject`. */
  readonly operation?: OperationName;
  /** True if an S3 store with request IDs has responded earlier in the run. */
  readonly afterStore?: boolean;
}

/** An exchange without a complete response, and the reason for which the call fails. */
export interface FailureCase {
  readonly reason: Reason;
  readonly answer: string;
  readonly phase: keyof Phases;
  /** Code of Node, the operating system, undici or OpenSSL. */
  readonly code?: string;
  /** Name of an error without a code. */
  readonly name?: string;
  readonly asksForCertificate?: boolean;
  readonly hasCertificate?: boolean;
  readonly afterResponse?: boolean;
  readonly afterStore?: boolean;
}

/** Responses to a whole run, and its reason. */
export interface RunCase {
  /** Absent if the run passes. */
  readonly reason?: Reason;
  readonly answer: string;
  readonly mode?: BucketPlan['mode'];
  readonly message?: RegExp;
  /** Returns the response to a request, or undefined to let an S3 store respond. */
  readonly respond: (request: RunRequest) => CannedResponse | undefined;
}

export interface RunRequest {
  readonly method: string;
  readonly isObject: boolean;
  readonly query: string;
  /** Methods of all earlier requests for objects. */
  readonly earlier: readonly string[];
}

export interface CannedResponse {
  readonly status: number;
  readonly headers?: http.OutgoingHttpHeaders;
  readonly text?: string;
  /** Sent as it is, before the response. */
  readonly preamble?: string;
}

const HTML = { 'content-type': 'text/html' };
const PLAIN = { 'content-type': 'text/plain' };
const XML = { 'content-type': 'application/xml' };
const STORE = { ...XML, 'x-amz-request-id': '17F0' };

export function errorXml(code: string, rest = ''): string {
  return `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code>${rest}</Error>`;
}

export const RESPONSE_CASES: readonly ResponseCase[] = [
  {
    reason: 'StoreUnavailable',
    answer: '`503` with HTML (ingress-nginx)',
    status: 503,
    headers: { ...HTML, server: 'nginx' },
    text: '<title>503 Service Temporarily Unavailable</title>',
  },
  {
    reason: 'StoreUnavailable',
    answer: '`503` without a body (Envoy)',
    status: 503,
    headers: { server: 'envoy' },
  },
  {
    reason: 'StoreUnavailable',
    answer: '`503` with plain text (HAProxy, Traefik)',
    status: 503,
    headers: PLAIN,
    text: 'no available server',
  },
  {
    reason: 'StoreUnavailable',
    answer: '`502` or `504` without evidence of S3',
    status: 504,
    headers: HTML,
    text: '<title>504 Gateway Time-out</title>',
  },
  {
    reason: 'StoreUnavailable',
    answer: '`521` (Cloudflare)',
    status: 521,
    headers: { ...HTML, server: 'cloudflare' },
    text: '<title>Web server is down</title>',
  },
  {
    reason: 'StoreUnavailable',
    answer: '`502` to HEAD',
    status: 502,
    operation: 'HeadBucket',
    headers: HTML,
  },
  {
    reason: 'ProxyRefused',
    answer: '`407`',
    status: 407,
    headers: HTML,
    text: 'Proxy Authentication Required',
  },
  {
    reason: 'ProxyRefused',
    answer: '`403` with HTML, after an S3 store has responded (a web application firewall)',
    status: 403,
    headers: HTML,
    text: '<title>Request blocked</title>',
    afterStore: true,
  },
  {
    reason: 'ProxyRefused',
    answer: '`404` with plain text, after an S3 store has responded (an ingress lost its route)',
    status: 404,
    headers: PLAIN,
    text: 'default backend - 404',
    afterStore: true,
  },
  {
    reason: 'ProxyRefused',
    answer: '`200` with HTML, after an S3 store has responded (a login page)',
    status: 200,
    headers: HTML,
    text: '<title>Sign in</title>',
    afterStore: true,
  },
  { reason: 'ProxyRefused', answer: '`421`', status: 421 },
  {
    reason: 'RequestTooLarge',
    answer: '`413` (`client_max_body_size` of nginx)',
    status: 413,
    operation: 'PutObject',
    headers: HTML,
    text: '<title>413 Request Entity Too Large</title>',
  },
  { reason: 'RequestTimeout', answer: '`408`', status: 408 },
  { reason: 'SlowDown', answer: '`429`', status: 429, headers: PLAIN, text: 'rate limit exceeded' },
  {
    reason: 'ServerError',
    answer: '`500` with HTML, after an S3 store has responded',
    status: 500,
    headers: HTML,
    text: '<title>500</title>',
    afterStore: true,
  },
  {
    reason: 'ServerError',
    answer: '`500` from a store, with an unknown code or none',
    status: 500,
    headers: STORE,
    text: errorXml('SomethingNew'),
  },
  {
    reason: 'NotS3',
    answer: '`404` with plain text (the default backend of an ingress)',
    status: 404,
    headers: PLAIN,
    text: 'default backend - 404',
  },
  {
    reason: 'NotS3',
    answer: '`200` with HTML (a login page)',
    status: 200,
    headers: HTML,
    text: '<title>Sign in</title>',
  },
  {
    reason: 'NotS3',
    answer: '`200` with text to a PUT, without an ETag',
    status: 200,
    operation: 'PutObject',
    headers: PLAIN,
    text: 'ok',
  },
  {
    reason: 'NotS3',
    answer: '`400` with plain text (HTTP to an HTTPS port)',
    status: 400,
    headers: PLAIN,
    text: 'Client sent an HTTP request to an HTTPS server.',
  },
  {
    reason: 'NotS3',
    answer: 'an error document with `x-ms-request-id` (Azure Blob Storage)',
    status: 400,
    headers: { ...XML, 'x-ms-request-id': '1' },
    text: errorXml('InvalidHeaderValue'),
  },
  {
    reason: 'Redirected',
    answer: '`302` to a login page',
    status: 302,
    headers: { location: 'https://login.example/?token=t0ken' },
  },
  {
    reason: 'Redirected',
    answer: '`301 PermanentRedirect` with another endpoint',
    status: 301,
    headers: XML,
    text: errorXml('PermanentRedirect', '<Endpoint>s3.eu-west-1.amazonaws.com</Endpoint>'),
  },
  {
    reason: 'Redirected',
    answer: '`403 AccessDenied` with an endpoint (Alibaba OSS)',
    status: 403,
    headers: STORE,
    text: errorXml('AccessDenied', '<Endpoint>oss-cn-beijing.aliyuncs.com</Endpoint>'),
  },
  {
    reason: 'AddressingStyle',
    answer: '`301 PermanentRedirect` to the virtual host of the bucket',
    status: 301,
    headers: XML,
    text: errorXml('PermanentRedirect', '<Endpoint>bucket.my-minio:9000</Endpoint>'),
  },
  {
    reason: 'AddressingStyle',
    answer: '`403 SecondLevelDomainForbidden` (Alibaba OSS, Tencent COS)',
    status: 403,
    headers: { 'x-oss-request-id': '1' },
    text: errorXml('SecondLevelDomainForbidden'),
  },
  {
    reason: 'RegionMismatch',
    answer: '`301` to HEAD with `x-amz-bucket-region` (AWS)',
    status: 301,
    operation: 'HeadBucket',
    headers: { 'x-amz-bucket-region': 'eu-west-1' },
  },
  {
    reason: 'RegionMismatch',
    answer: '`400` to HEAD with `x-amz-bucket-region` (AWS)',
    status: 400,
    operation: 'HeadBucket',
    headers: { 'x-amz-bucket-region': 'eu-west-1' },
  },
  {
    reason: 'RegionMismatch',
    answer: '`400 AuthorizationHeaderMalformed` with a region (Garage)',
    status: 400,
    headers: XML,
    text: errorXml('AuthorizationHeaderMalformed', '<Region>garage</Region>'),
  },
  {
    reason: 'ClientCertificateRequired',
    answer: 'nginx\'s `400` page "No required SSL certificate was sent"',
    status: 400,
    headers: { ...HTML, server: 'nginx' },
    text: '<title>400 No required SSL certificate was sent</title>',
  },
  {
    reason: 'ClockSkew',
    answer: '`403` without a code, with a `date` that differs by more than 15 minutes',
    status: 403,
    operation: 'HeadBucket',
    headers: { 'x-amz-request-id': '1', date: 'Thu, 01 Jan 1970 01:00:00 GMT' },
  },
  {
    reason: 'AccessDenied',
    answer: '`403` from a store without a code',
    status: 403,
    operation: 'HeadObject',
    headers: STORE,
  },
  {
    reason: 'ObjectLocked',
    answer: '`403 AccessDenied` or `400 InvalidRequest` to DELETE, with a message about object lock',
    status: 400,
    operation: 'DeleteObject',
    headers: STORE,
    text: errorXml('InvalidRequest', '<Message>Object is WORM protected and cannot be overwritten</Message>'),
  },
  {
    reason: 'ObjectLocked',
    answer: '`403 AccessDenied` or `400 InvalidRequest` to DELETE, with a message about object lock',
    status: 403,
    operation: 'DeleteObject',
    headers: STORE,
    text: errorXml(
      'AccessDenied',
      '<Message>Access Denied because object protected by object lock.</Message>',
    ),
  },
  {
    reason: 'InvalidAccessKey',
    answer: '`404 XAdminUserNotFound` (VersityGW)',
    status: 404,
    headers: XML,
    text: errorXml('XAdminUserNotFound'),
  },
  {
    reason: 'AccountDisabled',
    answer: '`403 UserSuspended` with an empty message (Ceph RGW)',
    status: 403,
    headers: XML,
    text: errorXml('UserSuspended', '<Message></Message>'),
  },
  {
    reason: 'TransientConflict',
    answer: '`409 OperationAborted` (AWS, after a bucket was removed)',
    status: 409,
    operation: 'CreateBucket',
    headers: STORE,
    text: errorXml('OperationAborted'),
  },
  {
    reason: 'BucketLimitReached',
    answer: '`400 TooManyBuckets`',
    status: 400,
    operation: 'CreateBucket',
    headers: STORE,
    text: errorXml('TooManyBuckets'),
  },
  {
    reason: 'RequestTimeout',
    answer: '`400 RequestTimeout`',
    status: 400,
    operation: 'PutObject',
    headers: STORE,
    text: errorXml('RequestTimeout'),
  },
  {
    reason: 'NotSupported',
    answer: '`501` or `405` from a store',
    status: 501,
    headers: STORE,
    text: errorXml('NotImplemented'),
  },
  {
    reason: 'UploadCorrupted',
    answer: '`400 BadDigest`',
    status: 400,
    operation: 'PutObject',
    headers: STORE,
    text: errorXml('BadDigest'),
  },
  {
    reason: 'EncryptionFailed',
    answer: '`400 KMS.NotFoundException`',
    status: 400,
    operation: 'PutObject',
    headers: STORE,
    text: errorXml('KMS.NotFoundException'),
  },
  {
    reason: 'BucketMissing',
    answer: '`404` from a store without a code',
    status: 404,
    operation: 'CreateBucket',
    headers: STORE,
  },
  {
    reason: 'ObjectMissing',
    answer: '`404 NoSuchKey` to GET',
    status: 404,
    headers: STORE,
    text: errorXml('NoSuchKey'),
  },
  { reason: 'StorageFull', answer: '`507`', status: 507, headers: STORE },
  {
    reason: 'RequestRejected',
    answer: '`4xx` from a store, with an unknown code',
    status: 418,
    headers: STORE,
    text: errorXml('ShortAndStout'),
  },
];

export const FAILURE_CASES: readonly FailureCase[] = [
  {
    reason: 'DNSFailed',
    answer: '`ENOTFOUND` or any other error while resolving',
    phase: 'dnsMs',
    code: 'ENOTFOUND',
  },
  {
    reason: 'DNSFailed',
    answer: '`ENOTFOUND` or any other error while resolving',
    phase: 'dnsMs',
    code: 'ESOMETHING',
  },
  {
    reason: 'ProxyUnreachable',
    answer: 'any error while connecting to the proxy or opening a tunnel',
    phase: 'proxyMs',
    code: 'ECONNRESET',
  },
  { reason: 'ConnectionRefused', answer: '`ECONNREFUSED`', phase: 'connectMs', code: 'ECONNREFUSED' },
  {
    reason: 'Unreachable',
    answer: '`EHOSTUNREACH`, `ETIMEDOUT` or any other error while connecting',
    phase: 'connectMs',
    code: 'EHOSTUNREACH',
  },
  {
    reason: 'Unreachable',
    answer: '`EHOSTUNREACH`, `ETIMEDOUT` or any other error while connecting',
    phase: 'connectMs',
    code: 'ETIMEDOUT',
  },
  {
    reason: 'Unreachable',
    answer: '`EHOSTUNREACH`, `ETIMEDOUT` or any other error while connecting',
    phase: 'connectMs',
    code: 'ESOMETHING',
  },
  {
    reason: 'ConnectionLost',
    answer: '`ECONNRESET` or a close while sending or receiving',
    phase: 'firstByteMs',
    code: 'ECONNRESET',
  },
  {
    reason: 'ConnectionLost',
    answer: '`ECONNRESET` or a close while sending or receiving',
    phase: 'bodyMs',
    code: 'UND_ERR_SOCKET',
  },
  {
    reason: 'ConnectionLost',
    answer: '`ECONNREFUSED` after a response in the same run',
    phase: 'connectMs',
    code: 'ECONNREFUSED',
    afterResponse: true,
  },
  { reason: 'Timeout', answer: 'no response before `timeout`', phase: 'firstByteMs', name: 'TimeoutError' },
  {
    reason: 'TLSUnknownAuthority',
    answer: '`SELF_SIGNED_CERT_IN_CHAIN`',
    phase: 'tlsMs',
    code: 'SELF_SIGNED_CERT_IN_CHAIN',
  },
  { reason: 'TLSCertificateExpired', answer: '`CERT_HAS_EXPIRED`', phase: 'tlsMs', code: 'CERT_HAS_EXPIRED' },
  {
    reason: 'TLSCertificateNotYetValid',
    answer: '`CERT_NOT_YET_VALID`',
    phase: 'tlsMs',
    code: 'CERT_NOT_YET_VALID',
  },
  {
    reason: 'TLSHostnameMismatch',
    answer: '`ERR_TLS_CERT_ALTNAME_INVALID`',
    phase: 'tlsMs',
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
  },
  {
    reason: 'TLSCertificateUnsuitable',
    answer: '`INVALID_PURPOSE` (no `serverAuth`)',
    phase: 'tlsMs',
    code: 'INVALID_PURPOSE',
  },
  {
    reason: 'TLSCertificateUnsuitable',
    answer: '`EE_KEY_TOO_SMALL`',
    phase: 'tlsMs',
    code: 'EE_KEY_TOO_SMALL',
  },
  {
    reason: 'TLSCertificateUnsuitable',
    answer: '`INVALID_CA` (the issuer is not a CA)',
    phase: 'tlsMs',
    code: 'INVALID_CA',
  },
  { reason: 'TLSCertificateUnsuitable', answer: '`CERT_REVOKED`', phase: 'tlsMs', code: 'CERT_REVOKED' },
  {
    reason: 'TLSFailed',
    answer: 'any other error in the TLS handshake',
    phase: 'tlsMs',
    code: 'ERR_SSL_WRONG_VERSION_NUMBER',
  },
  { reason: 'TLSFailed', answer: 'any other error in the TLS handshake', phase: 'tlsMs', code: 'ECONNRESET' },
  {
    reason: 'ClientCertificateRequired',
    answer: 'the alert `certificate_required`',
    phase: 'firstByteMs',
    code: 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED',
  },
  {
    reason: 'ClientCertificateRequired',
    answer: 'a close without a response, if the server asked for a certificate',
    phase: 'firstByteMs',
    code: 'ECONNRESET',
    asksForCertificate: true,
  },
  {
    reason: 'ClientCertificateRequired',
    answer: 'a failed handshake, if the server asked for a certificate',
    phase: 'tlsMs',
    code: 'ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE',
    asksForCertificate: true,
  },
  {
    reason: 'ClientCertificateRejected',
    answer: 'the alert `unknown_ca`, `bad_certificate` or similar',
    phase: 'firstByteMs',
    code: 'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA',
    hasCertificate: true,
  },
  {
    reason: 'NotS3',
    answer: 'bytes that are not HTTP',
    phase: 'firstByteMs',
    code: 'HPE_INVALID_CONSTANT',
    name: 'HTTPParserError',
  },
  {
    reason: 'NotS3',
    answer: 'response headers of more than 16 KiB',
    phase: 'firstByteMs',
    code: 'UND_ERR_HEADERS_OVERFLOW',
  },
  {
    reason: 'InvalidResponse',
    answer: 'bytes that are not HTTP, after an S3 store has responded',
    phase: 'firstByteMs',
    code: 'HPE_INVALID_CONSTANT',
    name: 'HTTPParserError',
    afterStore: true,
  },
  {
    reason: 'ProberError',
    answer: '`EMFILE`, `ENFILE`, `ENOMEM`: the prober has no file descriptors or memory left',
    phase: 'connectMs',
    code: 'EMFILE',
  },
];

export const RUN_CASES: readonly RunCase[] = [
  {
    answer: '`404` to HEAD with `text/html` and no body, and `NoSuchBucket` to GET (moto, LocalStack)',
    respond: ({ method, query, earlier }) => {
      if (earlier.length > 0 || query === 'location') return undefined;
      return method === 'HEAD' ? { status: 404, headers: HTML } : undefined;
    },
  },
  {
    answer: 'an unsolicited `100 Continue`',
    respond: () => ({ status: 0, preamble: 'HTTP/1.1 100 Continue\r\n\r\n' }),
  },
  {
    reason: 'NotS3',
    answer: '`200` with the same text to every request',
    message: /^GetBucketLocation: 200 is not an S3 response \(text\/plain\): "ok"$/,
    respond: () => ({ status: 200, headers: PLAIN, text: 'ok' }),
  },
  {
    reason: 'NotS3',
    answer: '`200` without a body to every request',
    message: /^GetObject: 200 is not an S3 response .*; received 0 of 4096 bytes$/,
    respond: () => ({ status: 200 }),
  },
  {
    reason: 'NotS3',
    answer: '`404` with plain text to every request in mode `Existing`',
    mode: 'Existing',
    message: /^GetBucketLocation: 404 is not an S3 response \(text\/plain\): "default backend - 404"$/,
    respond: () => ({ status: 404, headers: PLAIN, text: 'default backend - 404' }),
  },
  {
    reason: 'BucketMissing',
    answer: '`404` from a store in mode `Existing`',
    mode: 'Existing',
    message: /^bucket canary does not exist$/,
    respond: () => ({ status: 404, headers: STORE, text: errorXml('NoSuchBucket') }),
  },
  {
    reason: 'RegionMismatch',
    answer: '`400` to HEAD, and `AuthorizationHeaderMalformed` to GET (Garage)',
    message:
      /^HeadBucket: 400; GetBucketLocation: 400 AuthorizationHeaderMalformed the store is in region garage$/,
    respond: () => ({
      status: 400,
      headers: XML,
      text: errorXml('AuthorizationHeaderMalformed', '<Region>garage</Region>'),
    }),
  },
  {
    reason: 'AccessDenied',
    answer: '`403` to HEAD, even if GET fails as well',
    message: /^HeadBucket: 403 \(needs s3:ListBucket\) .*; GetBucketLocation: 403 AccessDenied/,
    respond: () => ({ status: 403, headers: STORE, text: errorXml('AccessDenied') }),
  },
  {
    reason: 'RequestRejected',
    answer: '`400` to HEAD that GET does not explain',
    message: /^HeadBucket: 400 .*; GetBucketLocation: 403 AccessDenied/,
    respond: ({ method }) =>
      method === 'HEAD'
        ? { status: 400, headers: STORE }
        : { status: 403, headers: STORE, text: errorXml('AccessDenied') },
  },
  {
    reason: 'AccessDenied',
    answer: '`403` to HEAD after DELETE, if `s3:ListBucket` is missing',
    message:
      /^HeadObject: 403 .*; the object was deleted, and without s3:ListBucket stores return 403 instead of 404$/,
    respond: ({ method, isObject, earlier }) =>
      method === 'HEAD' && isObject && earlier.includes('DELETE')
        ? { status: 403, headers: STORE }
        : undefined,
  },
  {
    reason: 'Redirected',
    answer: '`302` to HEAD with a location',
    message: /^HeadBucket: 302 pointing to https:\/\/login\.example\/sign-in$/,
    respond: () => ({
      status: 302,
      headers: { location: 'https://user:pw@login.example/sign-in?token=t0ken#t0ken' },
    }),
  },
  {
    reason: 'StoreUnavailable',
    answer: '`503` with HTML to HEAD',
    message: /^HeadBucket: 503 is not an S3 response \(text\/html from nginx\)$/,
    respond: () => ({ status: 503, headers: { ...HTML, server: 'nginx' }, text: '<title>503</title>' }),
  },
  {
    reason: 'TransientConflict',
    answer: '`409 OperationAborted` to the creation of the bucket',
    message: /^CreateBucket: 409 OperationAborted/,
    respond: ({ method, isObject }) =>
      method === 'PUT' && !isObject
        ? { status: 409, headers: STORE, text: errorXml('OperationAborted') }
        : undefined,
  },
  {
    reason: 'ContentMismatch',
    answer: 'other bytes than those written, from a store that proved to be S3',
    message: /: received 5 of 4096 bytes$/,
    respond: ({ method, isObject }) =>
      method === 'GET' && isObject ? { status: 200, headers: STORE, text: 'wrong' } : undefined,
  },
  {
    reason: 'ProxyRefused',
    answer:
      'other bytes than those written, in a response without the request ID that the store usually sends',
    message: /^GetObject: 200 is not an S3 response \(text\/plain\): "wrong"; received 5 of 4096 bytes$/,
    respond: ({ method, isObject }) =>
      method === 'GET' && isObject ? { status: 200, headers: PLAIN, text: 'wrong' } : undefined,
  },
  {
    reason: 'ObjectNotRemoved',
    answer: '`204` to DELETE, and `200` to the HEAD after it',
    message: /is still served after it was deleted$/,
    respond: ({ method, isObject }) =>
      method === 'DELETE' && isObject ? { status: 204, headers: STORE } : undefined,
  },
  {
    reason: 'BucketConflict',
    answer: '`409 BucketAlreadyExists` to the creation of the bucket',
    message: /^CreateBucket: 409 BucketAlreadyExists/,
    respond: ({ method, isObject }) =>
      method === 'PUT' && !isObject
        ? { status: 409, headers: STORE, text: errorXml('BucketAlreadyExists') }
        : undefined,
  },
];
