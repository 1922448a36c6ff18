import { oneLine } from '../api/one-line.ts';
import { type Reason, ReasonedError } from '../api/reasons.ts';
import type { Phases } from '../api/run.ts';
import type { Fault } from './s3-error.ts';
import type { TransportError } from './transport.ts';

/** What goes on in each phase; the host follows. */
const PHASE_NAMES = {
  dnsMs: 'resolving the name of',
  connectMs: 'connecting to',
  tlsMs: 'shaking hands by TLS with',
  sendMs: 'sending the request to',
  firstByteMs: 'waiting for the first byte from',
  bodyMs: 'reading the answer of',
} as const satisfies Record<keyof Phases, string>;

/** Error codes of Node and of the system, by the reason they give. Sources: libuv, undici, OpenSSL's X509_V_ERR names. */
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
 * Says why an exchange came to no answer.
 *
 * @param wasConnected an earlier call of the same run was answered: a store that now refuses connections went away.
 */
export function networkFault(error: TransportError, endpoint: URL, wasConnected: boolean): Fault {
  const { cause, phase } = error;
  // The transport refused, and said why.
  if (cause instanceof ReasonedError) return { reason: cause.reason, message: cause.message };
  const doing = `${PHASE_NAMES[phase]} ${endpoint.host}`;
  if (isTimeout(cause)) return { reason: 'Timeout', message: `time ran out while ${doing}` };

  const reason = isNoHttp(cause) ? 'NotS3' : (reasonOfCode(codeOf(cause), phase) ?? 'ProberError');
  if (reason === 'ConnectionRefused' && wasConnected) {
    return {
      reason: 'ConnectionLost',
      message: `${endpoint.host} answered before, and now refuses connections`,
    };
  }
  return { reason, message: `failed while ${doing}: ${describe(cause)}` };
}

function reasonOfCode(code: string, phase: TransportError['phase']): Reason | undefined {
  if (code.startsWith('ERR_SSL_') || (code === 'ECONNRESET' && phase === 'tlsMs')) return 'TLSFailed';
  return REASON_OF_CODE[code];
}

/** undici's parser gives no code. */
function isNoHttp(cause: unknown): boolean {
  return cause instanceof Error && cause.name === 'HTTPParserError';
}

/** True when a deadline, and not a shutdown, broke the call off. */
export function isTimeout(cause: unknown): boolean {
  return cause instanceof Error && cause.name === 'TimeoutError';
}

function codeOf(cause: unknown): string {
  if (typeof cause === 'object' && cause !== null && 'code' in cause) return String(cause.code);
  return '';
}

function describe(cause: unknown): string {
  // Several addresses were tried: Node gathers their errors, and gives the whole the first one's code.
  if (cause instanceof AggregateError && cause.errors[0] instanceof Error) return describe(cause.errors[0]);
  if (!(cause instanceof Error)) return 'no error was given';
  // OpenSSL's messages carry addresses and source files of its own: `4087…:error:0A00010B:SSL routines:…:wrong version number:…`.
  return oneLine(/:SSL routines:[^:]*:([^:]+):/.exec(cause.message)?.[1] ?? cause.message);
}
