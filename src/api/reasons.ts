import { oneLine } from './one-line.ts';

/** Result of a run. `Unknown` means that the run could not determine whether the store works; it never counts against the target. */
export type Verdict = 'Passed' | 'Failed' | 'Unknown';

export interface ReasonInfo {
  readonly verdict: Exclude<Verdict, 'Passed'>;
  /** What happened, in one sentence. */
  readonly means: string;
  /** What to do, in one sentence that starts with a verb. */
  readonly fix: string;
}

/**
 * All reasons for a run not to pass. Spans, metrics, conditions, Events, logs and the page use the same word.
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
    means: "Nothing is listening on the endpoint's address and port.",
    fix: 'Check that the server is running and ready, and that `endpoint` uses its S3 port.',
  },
  Unreachable: {
    verdict: 'Failed',
    means: "There is no network route to the endpoint's address.",
    fix: 'Check routes, firewalls and network policies between the prober and the store.',
  },
  ConnectionLost: {
    verdict: 'Failed',
    means: 'The connection was closed before the response was complete.',
    fix: 'Look for a restart, crash or out-of-memory kill of the server, and check the limits of any proxies in between.',
  },
  Timeout: {
    verdict: 'Failed',
    means: "The run's `timeout` expired during a call.",
    fix: 'Check which phase was slow: a slow connect points to the network, a slow first byte to the server and its drives, and a slow body to bandwidth.',
  },
  TLSUnknownAuthority: {
    verdict: 'Failed',
    means: "The server's certificate was signed by an authority that the prober does not trust.",
    fix: 'Put the CA bundle into a Secret and set `tls.caSecretRef`, or configure the server to send its intermediate certificates.',
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
    means: "The server's certificate does not cover the endpoint's host.",
    fix: 'Use a host name that the certificate lists, or add the host to the certificate.',
  },
  TLSFailed: {
    verdict: 'Failed',
    means: 'The TLS handshake failed.',
    fix: 'Check that the port uses TLS (an `https` endpoint on a plain HTTP port fails like this) and which versions and ciphers the server supports.',
  },
  InvalidAccessKey: {
    verdict: 'Failed',
    means: 'The store does not know the access key.',
    fix: 'Check `accessKey` in the credentials Secret, and that the user exists and is enabled.',
  },
  SignatureMismatch: {
    verdict: 'Failed',
    means: "The store knows the access key, but the request's signature is wrong.",
    fix: 'Check `secretKey` in the credentials Secret, and that no proxy changes the Host header or the path.',
  },
  CredentialsExpired: {
    verdict: 'Failed',
    means: 'The store reports that the session token is invalid or has expired.',
    fix: 'Renew the temporary credentials.',
  },
  ClockSkew: {
    verdict: 'Failed',
    means: "The prober's clock and the store's clock differ too much for signatures to be valid.",
    fix: 'Synchronize both clocks with NTP; the message states the difference.',
  },
  AccessDenied: {
    verdict: 'Failed',
    means: 'The store accepts the credentials, but their policy does not allow the request.',
    fix: 'Attach the policy for this bucket mode to the user; the failed step shows which action is missing.',
  },
  RegionMismatch: {
    verdict: 'Failed',
    means: "The store's region differs from `region`.",
    fix: 'Set `region` to the region in the message.',
  },
  BucketMissing: {
    verdict: 'Failed',
    means:
      'The bucket does not exist: the bucket in `bucket.name` is missing (`mode: Existing`), or the bucket disappeared during the run.',
    fix: 'Create the bucket, correct `bucket.name`, or find out what removed the bucket.',
  },
  BucketConflict: {
    verdict: 'Failed',
    means:
      "The probe's bucket name is already taken, or the bucket contains objects that the probe did not create.",
    fix: 'Empty or remove that bucket, or use `mode: Existing`.',
  },
  ObjectMissing: {
    verdict: 'Failed',
    means: 'The store accepted the object but then could not find it.',
    fix: "Treat it as data loss: check the store's drives, healing and replication.",
  },
  ContentMismatch: {
    verdict: 'Failed',
    means: 'The data read back differs from the data written.',
    fix: 'Treat it as data corruption: compare direct access with access through each proxy, and check drives and memory.',
  },
  ObjectNotRemoved: {
    verdict: 'Failed',
    means: 'The store accepted the delete but still serves the object.',
    fix: "Check the bucket's object locks, versioning and replication, and any caches in between.",
  },
  SlowDown: {
    verdict: 'Failed',
    means: 'The store is throttling requests.',
    fix: "Check the store's request limits and load; probe less often if the probe itself causes the load.",
  },
  QuorumLost: {
    verdict: 'Failed',
    means: 'Too few drives respond for the store to read or write.',
    fix: "Find out which of the store's drives and nodes are offline, and why.",
  },
  StorageFull: {
    verdict: 'Failed',
    means: 'The store is out of space, or a quota is exhausted.',
    fix: 'Free space, raise the quota, or add drives.',
  },
  ServerNotReady: {
    verdict: 'Failed',
    means: 'The store responds but is still starting.',
    fix: 'Wait until the store has started; if that takes too long, check why it cannot reach its drives or peers.',
  },
  ServerError: {
    verdict: 'Failed',
    means: 'The store, or a proxy in front of it, returned an internal error.',
    fix: "Search the store's logs for the request ID in the message.",
  },
  NotS3: {
    verdict: 'Failed',
    means: 'The response did not come from an S3 service; it may be from a proxy or a login page.',
    fix: 'Check the host and port in `endpoint` (for MinIO, the S3 port rather than the console port) and any proxy in front of the store.',
  },
  Redirected: {
    verdict: 'Failed',
    means: 'The endpoint returned a redirect, which the probe does not follow with signed requests.',
    fix: 'Set `endpoint` (and `region`) to the location in the message.',
  },
  RequestRejected: {
    verdict: 'Failed',
    means: 'The store returned an error code that storage-probe does not recognise.',
    fix: 'Look up the error code in the message, and report it so that it can get its own reason.',
  },
  SecretMissing: {
    verdict: 'Unknown',
    means: 'The Secret with the credentials or the CA bundle does not exist.',
    fix: 'Create the Secret that the message names, or correct the reference to it.',
  },
  SecretInvalid: {
    verdict: 'Unknown',
    means: 'A key of the Secret is missing or has an invalid value.',
    fix: 'Correct the key that the message names.',
  },
  AddressNotAllowed: {
    verdict: 'Unknown',
    means:
      "The operator does not allow the endpoint's address, for example a loopback, link-local or metadata service address.",
    fix: 'Check which address `endpoint` resolves to, or ask the administrator of the operator to allow it.',
  },
  Cancelled: {
    verdict: 'Unknown',
    means: 'The run was cancelled before it had a result.',
    fix: 'Ignore it: the prober was shutting down or the probe was removed.',
  },
  ProberError: {
    verdict: 'Unknown',
    means: 'The prober itself failed, for example because it ran out of memory or file descriptors.',
    fix: "Check the message and the prober's log; report the error if it recurs.",
  },
} as const satisfies Record<string, ReasonInfo>;

/** Why a run did not pass: a key of {@link REASONS}. */
export type Reason = keyof typeof REASONS;

/** Longest message of a {@link ReasonedError}, and therefore of a run, in UTF-16 code units. */
export const MAX_MESSAGE_LENGTH = 512;

/**
 * An error with a reason from {@link REASONS}. Branch on `reason`. `message` contains no secrets and is cut to one line
 * of at most {@link MAX_MESSAGE_LENGTH} characters, because it may quote a store's response.
 */
export class ReasonedError extends Error {
  override readonly name: string = 'ReasonedError';
  readonly reason: Reason;

  constructor(reason: Reason, message: string, options?: ErrorOptions) {
    super(oneLine(message, MAX_MESSAGE_LENGTH), options);
    this.reason = reason;
  }
}
