import { oneLine } from '../api/one-line.ts';
import { type Reason, ReasonedError } from '../api/reasons.ts';
import type { Phases } from '../api/run.ts';
import type { Fault } from './s3-error.ts';
import type { TransportError } from './transport.ts';

/** Activity of each phase, followed by the host in messages. */
const PHASE_ACTIVITIES = {
  dnsMs: 'resolving the host name of',
  connectMs: 'connecting to',
  tlsMs: 'TLS handshake with',
  sendMs: 'sending the request to',
  firstByteMs: 'waiting for the first byte from',
  bodyMs: 'reading the response from',
} as const satisfies Record<keyof Phases, string>;

/** Reasons by error code of Node and the operating system. Sources: libuv, undici, OpenSSL's X509_V_ERR names. */
const REASON_OF_CODE: Readonly<Record<string, Reason>> = {
  ENOTFOUND: 'DNSFailed',
  EAI_AGAIN: 'DNSFailed',
  EAI_FAIL: 'DNSFailed',
  EAI_NODATA: 'DNSFailed',
  EAI_NONAME: 'DNSFailed',
  ECONNREFUSED: 'ConnectionRefused',
  EHOSTUNREACH: 'Unreachable',
  ENETUNREACH: 'Unreachable',
  EHOSTDOWN: 'Unreachable',
  ENETDOWN: 'Unreachable',
  EADDRNOTAVAIL: 'Unreachable',
  EACCES: 'Unreachable',
  EPERM: 'Unreachable',
  ETIMEDOUT: 'Timeout',
  ERR_SOCKET_CONNECTION_TIMEOUT: 'Timeout',
  ECONNRESET: 'ConnectionLost',
  ECONNABORTED: 'ConnectionLost',
  EPIPE: 'ConnectionLost',
  UND_ERR_SOCKET: 'ConnectionLost',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'ConnectionLost',
  UND_ERR_HEADERS_OVERFLOW: 'NotS3',
  UNABLE_TO_GET_ISSUER_CERT: 'TLSUnknownAuthority',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'TLSUnknownAuthority',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'TLSUnknownAuthority',
  SELF_SIGNED_CERT_IN_CHAIN: 'TLSUnknownAuthority',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'TLSUnknownAuthority',
  CERT_UNTRUSTED: 'TLSUnknownAuthority',
  CERT_SIGNATURE_FAILURE: 'TLSUnknownAuthority',
  CERT_HAS_EXPIRED: 'TLSCertificateExpired',
  CERT_NOT_YET_VALID: 'TLSCertificateNotYetValid',
  ERR_TLS_CERT_ALTNAME_INVALID: 'TLSHostnameMismatch',
  EPROTO: 'TLSFailed',
};

/**
 * Derives the fault from an exchange that got no complete response.
 *
 * @param hasResponded true if an earlier call of the same run got a response. If the store now refuses connections, it
 *   went down during the run.
 */
export function networkFault(error: TransportError, endpoint: URL, hasResponded: boolean): Fault {
  const { cause, phase } = error;
  // The transport refused to connect and has set the reason.
  if (cause instanceof ReasonedError) return { reason: cause.reason, message: cause.message };
  const activity = `${PHASE_ACTIVITIES[phase]} ${endpoint.host}`;
  if (isTimeout(cause)) return { reason: 'Timeout', message: `${activity} timed out` };

  const reason = isParseError(cause) ? 'NotS3' : (reasonOfCode(codeOf(cause), phase) ?? 'ProberError');
  if (reason === 'ConnectionRefused' && hasResponded) {
    return {
      reason: 'ConnectionLost',
      message: `${endpoint.host} responded earlier in this run but now refuses connections`,
    };
  }
  return { reason, message: `${activity} failed: ${causeText(cause)}` };
}

function reasonOfCode(code: string, phase: TransportError['phase']): Reason | undefined {
  if (code.startsWith('ERR_SSL_') || (code === 'ECONNRESET' && phase === 'tlsMs')) return 'TLSFailed';
  return REASON_OF_CODE[code];
}

/** Checks the name because errors of undici's HTTP parser have no fixed code. */
function isParseError(cause: unknown): boolean {
  return cause instanceof Error && cause.name === 'HTTPParserError';
}

/** True if the call was aborted by a deadline rather than by a shutdown. */
export function isTimeout(cause: unknown): boolean {
  return cause instanceof Error && cause.name === 'TimeoutError';
}

function codeOf(cause: unknown): string {
  if (typeof cause === 'object' && cause !== null && 'code' in cause) return String(cause.code);
  return '';
}

function causeText(cause: unknown): string {
  // After trying several addresses, Node throws an AggregateError with the code of the first error.
  if (cause instanceof AggregateError && cause.errors[0] instanceof Error) return causeText(cause.errors[0]);
  if (!(cause instanceof Error)) return 'unknown error';
  // OpenSSL messages include internal addresses and source files: `4087…:error:0A00010B:SSL routines:…:wrong version number:…`.
  return oneLine(/:SSL routines:[^:]*:([^:]+):/.exec(cause.message)?.[1] ?? cause.message);
}
