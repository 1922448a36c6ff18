import { type Reason, ReasonedError } from '../api/reasons.ts';
import type { Phases } from '../api/run.ts';
import type { Answerer } from './answered-by.ts';
import { causeText } from './cause-text.ts';
import { describeAttempts } from './dialer.ts';
import { isTimeout } from './is-timeout.ts';
import type { Fault } from './s3-error.ts';
import type { TransportError } from './transport.ts';

/** Activity of each phase, followed by the host in messages. */
const PHASE_ACTIVITIES = {
  waitMs: 'waiting in the prober to resolve the host name of',
  dnsMs: 'resolving the host name of',
  connectMs: 'connecting to',
  proxyMs: 'opening a tunnel to',
  tlsMs: 'TLS handshake with',
  sendMs: 'sending the request to',
  firstByteMs: 'waiting for the first byte from',
  bodyMs: 'reading the response from',
} as const satisfies Record<keyof Phases, string>;

/** Reasons for codes that are not listed in {@link REASON_OF_CODE}. */
const REASON_OF_PHASE = {
  waitMs: 'ProberError',
  dnsMs: 'DNSFailed',
  connectMs: 'Unreachable',
  proxyMs: 'ProxyUnreachable',
  tlsMs: 'TLSFailed',
  sendMs: 'ConnectionLost',
  firstByteMs: 'ConnectionLost',
  bodyMs: 'ConnectionLost',
} as const satisfies Record<keyof Phases, Reason>;

/**
 * Reasons by error code of Node, the operating system and OpenSSL. Sources: libuv, undici, OpenSSL's `x509_vfy.h` and
 * Node's `crypto_common.cc` (`UNSPECIFIED` stands for all codes that Node does not know).
 */
const REASON_OF_CODE: ReadonlyMap<string, Reason> = new Map(
  Object.entries({
    DNSFailed: 'ENOTFOUND EAI_AGAIN EAI_FAIL EAI_NODATA EAI_NONAME',
    ConnectionRefused: 'ECONNREFUSED',
    Unreachable:
      'EHOSTUNREACH ENETUNREACH EHOSTDOWN ENETDOWN EADDRNOTAVAIL EACCES EPERM ETIMEDOUT ERR_SOCKET_CONNECTION_TIMEOUT',
    ConnectionLost: 'ECONNRESET ECONNABORTED EPIPE UND_ERR_SOCKET UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
    TLSUnknownAuthority: `
      UNABLE_TO_GET_ISSUER_CERT UNABLE_TO_GET_ISSUER_CERT_LOCALLY UNABLE_TO_VERIFY_LEAF_SIGNATURE
      SELF_SIGNED_CERT_IN_CHAIN DEPTH_ZERO_SELF_SIGNED_CERT CERT_UNTRUSTED CERT_SIGNATURE_FAILURE`,
    TLSCertificateExpired: 'CERT_HAS_EXPIRED ERROR_IN_CERT_NOT_AFTER_FIELD',
    TLSCertificateNotYetValid: 'CERT_NOT_YET_VALID ERROR_IN_CERT_NOT_BEFORE_FIELD',
    TLSHostnameMismatch: `
      ERR_TLS_CERT_ALTNAME_INVALID ERR_TLS_CERT_ALTNAME_FORMAT HOSTNAME_MISMATCH EMAIL_MISMATCH IP_ADDRESS_MISMATCH
      ERR_SSL_TLSV1_UNRECOGNIZED_NAME ERR_SSL_TLSV1_ALERT_UNRECOGNIZED_NAME`,
    TLSCertificateUnsuitable: `
      UNSPECIFIED INVALID_PURPOSE INVALID_CA INVALID_NON_CA PATH_LENGTH_EXCEEDED CERT_CHAIN_TOO_LONG CERT_REVOKED
      CERT_REJECTED EE_KEY_TOO_SMALL CA_KEY_TOO_SMALL CA_MD_TOO_WEAK KEYUSAGE_NO_CERTSIGN KEYUSAGE_NO_CRL_SIGN
      KEYUSAGE_NO_DIGITAL_SIGNATURE AKID_SKID_MISMATCH AKID_ISSUER_SERIAL_MISMATCH SUBJECT_ISSUER_MISMATCH
      UNHANDLED_CRITICAL_EXTENSION UNHANDLED_CRITICAL_CRL_EXTENSION INVALID_EXTENSION INVALID_POLICY_EXTENSION
      NO_EXPLICIT_POLICY PERMITTED_VIOLATION EXCLUDED_VIOLATION SUBTREE_MINMAX UNSUPPORTED_CONSTRAINT_TYPE
      UNSUPPORTED_CONSTRAINT_SYNTAX UNSUPPORTED_NAME_SYNTAX UNSUPPORTED_EXTENSION_FEATURE
      UNABLE_TO_DECRYPT_CERT_SIGNATURE UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY UNSUPPORTED_SIGNATURE_ALGORITHM
      SIGNATURE_ALGORITHM_MISMATCH SIGNATURE_ALGORITHM_INCONSISTENCY INVALID_CALL
      PATHLEN_INVALID_FOR_NON_CA PATHLEN_WITHOUT_KU_KEY_CERT_SIGN KU_KEY_CERT_SIGN_INVALID_FOR_NON_CA
      CA_BCONS_NOT_CRITICAL CA_CERT_MISSING_KEY_USAGE EXTENSIONS_REQUIRE_VERSION_3 EMPTY_SUBJECT_ALT_NAME
      EMPTY_SUBJECT_SAN_NOT_CRITICAL ISSUER_NAME_EMPTY SUBJECT_NAME_EMPTY MISSING_AUTHORITY_KEY_IDENTIFIER
      MISSING_SUBJECT_KEY_IDENTIFIER AUTHORITY_KEY_IDENTIFIER_CRITICAL SUBJECT_KEY_IDENTIFIER_CRITICAL EC_KEY_EXPLICIT_PARAMS
      UNABLE_TO_GET_CRL UNABLE_TO_DECRYPT_CRL_SIGNATURE CRL_SIGNATURE_FAILURE CRL_NOT_YET_VALID CRL_HAS_EXPIRED
      ERROR_IN_CRL_LAST_UPDATE_FIELD ERROR_IN_CRL_NEXT_UPDATE_FIELD UNABLE_TO_GET_CRL_ISSUER DIFFERENT_CRL_SCOPE
      CRL_PATH_VALIDATION_ERROR OCSP_VERIFY_NEEDED OCSP_VERIFY_FAILED OCSP_CERT_UNKNOWN NO_VALID_SCTS
      SUITE_B_INVALID_VERSION SUITE_B_INVALID_ALGORITHM SUITE_B_INVALID_CURVE SUITE_B_INVALID_SIGNATURE_ALGORITHM
      SUITE_B_LOS_NOT_ALLOWED SUITE_B_CANNOT_SIGN_P_384_WITH_P_256 DANE_NO_MATCH
      ERR_SSL_EE_KEY_TOO_SMALL ERR_SSL_CA_KEY_TOO_SMALL ERR_SSL_CA_MD_TOO_WEAK ERR_SSL_DH_KEY_TOO_SMALL`,
    ProberError: `
      EMFILE ENFILE ENOMEM ENOBUFS OUT_OF_MEM ERR_OUT_OF_RANGE ERR_MEMORY_ALLOCATION_FAILED ERR_INVALID_ARG_TYPE
      ERR_INVALID_ARG_VALUE UND_ERR_INVALID_ARG UND_ERR_ABORTED UND_ERR_DESTROYED UND_ERR_CLOSED
      UND_ERR_REQ_CONTENT_LENGTH_MISMATCH`,
  } satisfies Partial<Record<Reason, string>>).flatMap(([reason, codes]) =>
    codes
      .trim()
      .split(/\s+/)
      .map((code): [string, Reason] => [code, reason as Reason]),
  ),
);

/** Alerts with which a server rejects a client certificate or its absence. Source: RFC 8446, 6.2. */
const CERTIFICATE_ALERT =
  /ALERT_(BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_\w+|NO_CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)$/;

export interface NetworkContext {
  readonly host: string;
  /** An earlier call of the run got a response. If the store now refuses connections, it went down during the run. */
  readonly hasResponded: boolean;
  readonly hasClientCertificate: boolean;
  readonly by: Answerer;
}

/** Derives the fault from an exchange that got no complete response. */
export function networkFault(error: TransportError, context: NetworkContext): Fault {
  const { cause, phase, exchange } = error;
  const { host, by } = context;
  // The transport refused to connect and has set the reason.
  if (cause instanceof ReasonedError) return { reason: cause.reason, message: cause.message, by };
  const via = exchange.proxy === undefined ? '' : ` through proxy ${exchange.proxy}`;
  const activity = `${PHASE_ACTIVITIES[phase]} ${host}${via}`;
  if (isTimeout(cause)) return { ...timeoutFault(error, activity), by };

  const reason = reasonOf(error, context);
  if (reason === 'ConnectionRefused' && context.hasResponded) {
    const message = `${host} responded earlier in this run but now refuses connections`;
    return { reason: 'ConnectionLost', message, by };
  }
  return { reason, message: `${activity} failed: ${causeText(cause)}`, by };
}

function timeoutFault(
  { exchange: { attempts }, phase }: TransportError,
  activity: string,
): Omit<Fault, 'by'> {
  if (phase === 'dnsMs') {
    return { reason: 'DNSFailed', message: `${activity} failed: no answer within the run's timeout` };
  }
  // The run waited for the prober, not for the target.
  if (phase === 'waitMs') return { reason: 'ProberError', message: `${activity} timed out` };
  const tried = phase === 'connectMs' && attempts !== undefined ? `: ${describeAttempts(attempts)}` : '';
  return { reason: 'Timeout', message: `${activity} timed out${tried}` };
}

function reasonOf(error: TransportError, context: NetworkContext): Reason {
  const { cause, phase } = error;
  const code = codeOf(cause);
  if (isProberCode(cause)) return 'ProberError';
  if (phase === 'proxyMs') return 'ProxyUnreachable';
  if (isHttpError(cause)) return context.by === 'proxy' ? 'InvalidResponse' : 'NotS3';
  if (isClientCertificateFailure(error)) return clientCertificateReason(context);
  const listed = REASON_OF_CODE.get(code);
  if (phase === 'tlsMs' && listed === 'ConnectionLost') return 'TLSFailed';
  if (listed !== undefined) return listed;
  return isTlsCode(code) ? 'TLSFailed' : REASON_OF_PHASE[phase];
}

function clientCertificateReason({ hasClientCertificate }: NetworkContext): Reason {
  return hasClientCertificate ? 'ClientCertificateRejected' : 'ClientCertificateRequired';
}

/**
 * True if the server rejected the connection because of the client's certificate or because there was none. Some
 * servers close the connection instead of sending an alert. Under TLS 1.3 this happens after the handshake.
 */
export function isClientCertificateFailure({ cause, exchange }: TransportError): boolean {
  const code = codeOf(cause);
  if (CERTIFICATE_ALERT.test(code)) return true;
  if (exchange.clientCertificateRequested !== true || exchange.status !== undefined) return false;
  return REASON_OF_CODE.get(code) === 'ConnectionLost' || code.includes('ALERT_HANDSHAKE_FAILURE');
}

/** True for a code of OpenSSL. */
export function isTlsCode(code: string): boolean {
  return code.startsWith('ERR_SSL_') || code === 'EPROTO';
}

/** True for a failure of the prober itself: no memory, no file descriptors, or a bug. */
export function isProberCode(cause: unknown): boolean {
  if (REASON_OF_CODE.get(codeOf(cause)) === 'ProberError') return true;
  return cause instanceof TypeError || cause instanceof RangeError || cause instanceof ReferenceError;
}

/** True if the peer does not speak HTTP as it should. Checks the name because parse errors have no fixed code. */
export function isHttpError(cause: unknown): boolean {
  if (codeOf(cause) === 'UND_ERR_HEADERS_OVERFLOW') return true;
  return cause instanceof Error && cause.name === 'HTTPParserError';
}

export function codeOf(cause: unknown): string {
  if (typeof cause === 'object' && cause !== null && 'code' in cause) return String(cause.code);
  return '';
}
