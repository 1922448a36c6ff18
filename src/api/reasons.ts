import { oneLine } from './one-line.ts';

/** What a run says of its target. `Unknown` is the prober's own trouble and never counts against the target. */
export type Verdict = 'Passed' | 'Failed' | 'Unknown';

export interface ReasonInfo {
  readonly verdict: Exclude<Verdict, 'Passed'>;
  /** What was seen, as one sentence. */
  readonly means: string;
  /** What to do about it, as one sentence that starts with a verb. */
  readonly fix: string;
}

/**
 * The closed list of why a run did not pass. The same word stands in span, metric, condition, Event, log and page;
 * `docs/reference/reasons.md` is generated from this table.
 */
export const REASONS = {
  DNSFailed: {
    verdict: 'Failed',
    means: "The endpoint's host name did not resolve.",
    fix: "Check the host name in `endpoint`, the Service behind it, and the prober's DNS.",
  },
  ConnectionRefused: {
    verdict: 'Failed',
    means: 'Nothing listens at the address and port of the endpoint.',
    fix: 'Check that the server runs, that it is ready, and that `endpoint` names its S3 port.',
  },
  Unreachable: {
    verdict: 'Failed',
    means: "No network path leads to the endpoint's address.",
    fix: 'Check routes, firewalls and network policies between the prober and the store.',
  },
  ConnectionLost: {
    verdict: 'Failed',
    means:
      'The store went away in the middle of the run: the connection was closed before the answer was complete.',
    fix: 'Look for a restart, a crash or an out-of-memory kill of the server, and at the limits of proxies between.',
  },
  Timeout: {
    verdict: 'Failed',
    means: "The run's `timeout` passed while a call was under way.",
    fix: 'See in which phase the time went: connect points at the network, first byte at the server and its drives, body at bandwidth.',
  },
  TLSUnknownAuthority: {
    verdict: 'Failed',
    means: "The server's certificate was signed by an authority that the prober does not trust.",
    fix: 'Give the CA bundle in `tls.caSecretRef`, or have the server send its intermediate certificates.',
  },
  TLSCertificateExpired: {
    verdict: 'Failed',
    means: "The server's certificate has expired.",
    fix: 'Renew the certificate, and check that the server has loaded the new one.',
  },
  TLSCertificateNotYetValid: {
    verdict: 'Failed',
    means: "The server's certificate is not valid yet.",
    fix: "Check the certificate's dates and the clocks of the server, the prober and the issuer.",
  },
  TLSHostnameMismatch: {
    verdict: 'Failed',
    means: "The server's certificate does not name the host of the endpoint.",
    fix: 'Use a host name that the certificate lists, or add the host to the certificate.',
  },
  TLSFailed: {
    verdict: 'Failed',
    means: 'The TLS handshake failed.',
    fix: 'Check that the port speaks TLS (an `https` endpoint on a plain port fails like this) and which versions and ciphers it takes.',
  },
  InvalidAccessKey: {
    verdict: 'Failed',
    means: 'The store does not know the access key.',
    fix: "Check `accessKey` in the credentials' Secret, and that the user exists and is enabled.",
  },
  SignatureMismatch: {
    verdict: 'Failed',
    means: "The store knows the access key, but the request's signature is wrong.",
    fix: "Check `secretKey` in the credentials' Secret, and that no proxy changes the Host header or the path.",
  },
  CredentialsExpired: {
    verdict: 'Failed',
    means: 'The store says that the session token is invalid or has expired.',
    fix: 'Renew the temporary credentials.',
  },
  ClockSkew: {
    verdict: 'Failed',
    means: "The prober's clock and the store's clock are too far apart for a signature to hold.",
    fix: 'Set both clocks by NTP; the message tells by how much they differ.',
  },
  AccessDenied: {
    verdict: 'Failed',
    means: 'The store knows the credentials, but their policy does not allow the request.',
    fix: 'Attach the policy for this bucket mode to the user; the failed step tells which action is missing.',
  },
  RegionMismatch: {
    verdict: 'Failed',
    means: 'The store is in another region than `region` says.',
    fix: 'Set `region` to what the message names.',
  },
  BucketMissing: {
    verdict: 'Failed',
    means:
      'The bucket does not exist: one named with `mode: Existing`, or one that vanished in the middle of a run.',
    fix: 'Make the bucket, correct `bucket.name`, or find out who removed it.',
  },
  BucketConflict: {
    verdict: 'Failed',
    means:
      "The probe's own bucket name is taken by somebody else, or it holds objects that the probe did not make.",
    fix: 'Empty or remove that bucket, or probe with `mode: Existing`.',
  },
  ObjectMissing: {
    verdict: 'Failed',
    means: 'The store took the object, and then could not find it.',
    fix: 'Treat it as lost data: check drives, healing and replication of the store.',
  },
  ContentMismatch: {
    verdict: 'Failed',
    means: 'What was read back differs from what was written.',
    fix: 'Treat it as corruption: compare direct access with access through each proxy, and check drives and memory.',
  },
  ObjectNotRemoved: {
    verdict: 'Failed',
    means: 'The store took the removal of the object, and still serves it.',
    fix: 'Check object locks, versioning and replication of the bucket, and caches between.',
  },
  SlowDown: {
    verdict: 'Failed',
    means: 'The store asks its clients to send less.',
    fix: "Look at the store's request limits and load; probe less often if the probe itself is the load.",
  },
  QuorumLost: {
    verdict: 'Failed',
    means: 'Too few drives answer for the store to read or write.',
    fix: "Check the store's drives and nodes: which are offline, and why.",
  },
  StorageFull: {
    verdict: 'Failed',
    means: 'The store has no room left, or a quota is used up.',
    fix: 'Free space, raise the quota, or add drives.',
  },
  ServerNotReady: {
    verdict: 'Failed',
    means: 'The store answers, but is still starting.',
    fix: 'Wait for its start; if it lasts, look at why it cannot reach its drives or peers.',
  },
  ServerError: {
    verdict: 'Failed',
    means: 'The store, or a proxy before it, answered with an internal error.',
    fix: 'Look for the request id of the message in the logs of the store.',
  },
  NotS3: {
    verdict: 'Failed',
    means: 'Something answered that does not speak S3: a proxy, a login page, or another service.',
    fix: 'Check host and port of `endpoint` (MinIO: the S3 port, not the console) and what stands before the store.',
  },
  Redirected: {
    verdict: 'Failed',
    means: 'The endpoint redirects elsewhere; the probe follows no redirect with signed requests.',
    fix: 'Set `endpoint` (and `region`) to where the message points.',
  },
  RequestRejected: {
    verdict: 'Failed',
    means: 'The store refused the request with a code for which there is no reason of its own.',
    fix: 'See the code in the message, and report it: it may deserve a reason.',
  },
  SecretMissing: {
    verdict: 'Unknown',
    means: 'The Secret with the credentials or the CA bundle is not there.',
    fix: 'Create the Secret that the message names, or correct the reference to it.',
  },
  SecretInvalid: {
    verdict: 'Unknown',
    means: 'The Secret lacks a key, or what it holds is not what the key should hold.',
    fix: 'Correct the key that the message names.',
  },
  AddressNotAllowed: {
    verdict: 'Unknown',
    means:
      "The endpoint's address is one that the operator's administrator does not allow, such as loopback, link-local or a metadata service.",
    fix: 'Check what `endpoint` resolves to, or ask the administrator of the operator to allow the address.',
  },
  Cancelled: {
    verdict: 'Unknown',
    means: 'The run was stopped before it could tell.',
    fix: 'Nothing to do: the prober was stopping.',
  },
  ProberError: {
    verdict: 'Unknown',
    means: 'The prober itself failed, for example for want of memory or file descriptors.',
    fix: "See the message and the prober's log; report it if it comes again.",
  },
} as const satisfies Record<string, ReasonInfo>;

/** Why a run did not pass: a key of {@link REASONS}. */
export type Reason = keyof typeof REASONS;

/** Longest message of a {@link ReasonedError}, and so of a run. */
export const MAX_MESSAGE_LENGTH = 512;

/**
 * An error with a reason of the closed list. Branch on `reason`; `message` is one line without secrets, of at most
 * {@link MAX_MESSAGE_LENGTH} characters whatever a store said.
 */
export class ReasonedError extends Error {
  override readonly name: string = 'ReasonedError';
  readonly reason: Reason;

  constructor(reason: Reason, message: string, options?: ErrorOptions) {
    super(oneLine(message, MAX_MESSAGE_LENGTH), options);
    this.reason = reason;
  }
}
