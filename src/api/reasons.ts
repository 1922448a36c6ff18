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
 * All reasons for a run not to pass. Spans, metrics, conditions, Events, logs and the reference page all use these
 * words. `docs/reference/reasons.md` is generated from this table.
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
    means: "There is no network route to the endpoint's address, or nothing responds there.",
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
  ProxyUnreachable: {
    verdict: 'Failed',
    means: "The prober could not connect to the target's proxy.",
    fix: "Check the proxy's host and port in `proxy.url`, that the proxy is running, and its certificate if the URL is `https`.",
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
  TLSCertificateUnsuitable: {
    verdict: 'Failed',
    means:
      "The server's certificate cannot be used for a server: its purpose, key, signature or issuer is unsuitable, or it was revoked.",
    fix: 'Issue a new certificate with the extended key usage `serverAuth`, a strong key, and a CA as issuer.',
  },
  ClientCertificateRequired: {
    verdict: 'Failed',
    means: 'The server requires a client certificate, and the probe has none.',
    fix: 'Put a client certificate that the server accepts into a Secret, and set `tls.clientCertificateSecretRef`.',
  },
  ClientCertificateRejected: {
    verdict: 'Failed',
    means: "The server does not accept the probe's client certificate.",
    fix: 'Check that the client certificate has not expired, and that the server trusts its issuer.',
  },
  TLSFailed: {
    verdict: 'Failed',
    means: 'The TLS handshake failed.',
    fix: 'Check that the port uses TLS (an `https` endpoint on a plain HTTP port fails like this), and check which TLS versions and ciphers the server supports.',
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
  AccountDisabled: {
    verdict: 'Failed',
    means: 'The store knows the user, but the user or the account is disabled.',
    fix: "Enable the user, or ask the store's administrator why the account was disabled.",
  },
  ClockSkew: {
    verdict: 'Failed',
    means: "The prober's clock and the store's clock differ too much for signatures to be valid.",
    fix: 'Synchronize both clocks with NTP; the message states the difference.',
  },
  AccessDenied: {
    verdict: 'Failed',
    means: 'The store accepts the credentials, but their policy does not allow the request.',
    fix: 'Attach the policy for this bucket mode (see the installation guide) to the user; the failed step shows which action is missing.',
  },
  RegionMismatch: {
    verdict: 'Failed',
    means: "The store's region differs from `region`.",
    fix: 'Set `region` to the region in the message.',
  },
  AddressingStyle: {
    verdict: 'Failed',
    means: 'The store or the endpoint requires the other addressing style.',
    fix: "Set `addressing` to `VirtualHost` if the store expects the bucket's name in the host, otherwise to `Path`.",
  },
  BucketNameInvalid: {
    verdict: 'Failed',
    means: "The store does not accept the bucket's name.",
    fix: 'Shorten the names of the probe and the target, or use `mode: Existing` with a bucket that the store accepts.',
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
  BucketLimitReached: {
    verdict: 'Failed',
    means: 'The account has as many buckets as the store allows.',
    fix: 'Remove unused buckets, raise the limit, or use `mode: Existing`.',
  },
  TransientConflict: {
    verdict: 'Failed',
    means: 'Another operation on the same bucket or object is still in progress.',
    fix: 'Wait for the next run; if the conflict recurs, use `mode: Existing`, because some stores take several minutes to release the name of a removed bucket.',
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
  UploadCorrupted: {
    verdict: 'Failed',
    means: 'The store received different data from what the probe sent.',
    fix: 'Compare direct access with access through each proxy, and check network hardware and memory.',
  },
  EncryptionFailed: {
    verdict: 'Failed',
    means: 'The store cannot encrypt or decrypt the object.',
    fix: "Check the store's key management service, the key that `encryption` names, and the user's right to use it.",
  },
  ObjectNotRemoved: {
    verdict: 'Failed',
    means: 'The store accepted the delete but still serves the object.',
    fix: "Check the bucket's object locks, versioning and replication, and any caches in between.",
  },
  ObjectLocked: {
    verdict: 'Failed',
    means: 'An object lock (retention or legal hold) prevents the removal of the object.',
    fix: 'Use a bucket without default retention; the objects listed as left behind can be removed when their retention ends.',
  },
  SlowDown: {
    verdict: 'Failed',
    means: 'The store, or a proxy in front of it, is throttling requests.',
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
  RequestTooLarge: {
    verdict: 'Failed',
    means: 'The object is larger than the store, or a proxy in front of it, accepts.',
    fix: "Raise the proxy's limit for request bodies (for example `proxy-body-size` of ingress-nginx), or use smaller sizes in `objects`.",
  },
  RequestTimeout: {
    verdict: 'Failed',
    means: 'The store, or a proxy in front of it, did not receive the whole request in time.',
    fix: 'Check the bandwidth and packet loss between the prober and the store, and the request timeouts of proxies.',
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
  StoreUnavailable: {
    verdict: 'Failed',
    means: 'A proxy in front of the store reports that the store does not respond.',
    fix: "Check that the store is running and ready, and that the proxy's upstream address and health check are correct.",
  },
  ProxyRefused: {
    verdict: 'Failed',
    means: 'A proxy between the prober and the store answered the request instead of forwarding it.',
    fix: "Check the proxy's routes, access rules and authentication.",
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
  NotSupported: {
    verdict: 'Failed',
    means: "The store does not support one of the probe's requests.",
    fix: 'Find the request in the message, and check whether a newer version of the store or a different setting supports it.',
  },
  RequestInvalid: {
    verdict: 'Failed',
    means: 'The store considers the request invalid.',
    fix: 'Check whether a proxy changes requests; if direct access fails as well, report the message.',
  },
  InvalidResponse: {
    verdict: 'Failed',
    means: 'The endpoint is an S3 service, but this response is not valid HTTP.',
    fix: 'Compare direct access with access through each proxy.',
  },
  RequestRejected: {
    verdict: 'Failed',
    means: 'The store returned an error code that storage-probe does not recognise.',
    fix: 'Look up the error code in the message, and report it so that it can get its own reason.',
  },
  SecretMissing: {
    verdict: 'Unknown',
    means: 'A Secret or ConfigMap that the target references does not exist.',
    fix: 'Create the Secret or ConfigMap that the message names, or correct the reference to it.',
  },
  SecretInvalid: {
    verdict: 'Unknown',
    means: 'A key of a Secret or ConfigMap is missing or has an invalid value.',
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
  WebIdentityRejected: {
    verdict: 'Failed',
    means: "The store's STS service refused to exchange the web identity token for credentials.",
    fix: "Check that the store trusts the token's issuer and audience, and that the role, or the policy in the token's claim, exists.",
  },
  WebIdentityUnavailable: {
    verdict: 'Unknown',
    means:
      'The prober has no web identity token, or an STS service that is not part of the store did not exchange the token for credentials.',
    fix: 'Follow the message: enable web identity in the operator, allow the STS endpoint, or use `credentialsSecretRef`.',
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
