import type { Reason, ReasonedError, Verdict } from './reasons.ts';

/** Credentials of one target. Never log them, export them or put them into an error. */
export interface Credentials {
  readonly accessKey: string;
  readonly secretKey: string;
  /** Only for temporary credentials (STS). */
  readonly sessionToken?: string;
}

/** The probe that a run belongs to. */
export interface ProbeRef {
  readonly namespace: string;
  readonly name: string;
}

/** A target with everything that a call to it needs. */
export interface RunTarget {
  /** Unique in its probe; also the trace's `service.name`. */
  readonly name: string;
  /** `http://host[:port][/path]` or `https://host[:port][/path]`, without a trailing slash. */
  readonly endpoint: string;
  /** Default: `Path`. */
  readonly addressing?: Addressing;
  readonly region: string;
  readonly credentials: Credentials;
  /**
   * Why there are no credentials, if the store's own STS service did not grant any. Every call then fails with this reason,
   * so that the run reports it.
   */
  readonly credentialsFault?: ReasonedError;
  readonly tls?: TargetTls;
  /** Absent: connect directly. The environment is never consulted. */
  readonly proxy?: TargetProxy;
  /** Server-side encryption to request for every object. Absent: the store's default. */
  readonly encryption?: Encryption;
}

/** Where the bucket's name is: in the path (`host/bucket/key`) or in the host name (`bucket.host/key`). */
export type Addressing = 'Path' | 'VirtualHost';

export interface TargetTls {
  /** CA certificates in PEM format, which replace the system's. */
  readonly ca?: string;
  readonly clientCertificate?: ClientCertificate;
  /** Name for SNI and for the certificate check. Default: the endpoint's host. */
  readonly serverName?: string;
}

/** A certificate chain and its private key in PEM format. Never log the key, export it or put it into an error. */
export interface ClientCertificate {
  readonly certificate: string;
  readonly privateKey: string;
}

export interface TargetProxy {
  /** `http://host[:port]` or `https://host[:port]`, without credentials. */
  readonly url: string;
  /** For `Proxy-Authorization: Basic`. Never log the password, export it or put it into an error. */
  readonly credentials?: { readonly username: string; readonly password: string };
}

/** Source: Amazon S3 API Reference, PutObject, `x-amz-server-side-encryption`. */
export type Encryption =
  | { readonly algorithm: 'AES256' }
  | { readonly algorithm: 'aws:kms'; readonly kmsKeyId?: string };

/**
 * `Ephemeral`: a bucket that belongs to the probe; each run creates and removes it. `Existing`: a named bucket, which is
 * never created or removed.
 */
export type BucketPlan =
  | { readonly mode: 'Ephemeral' }
  | { readonly mode: 'Existing'; readonly name: string };

/** Everything that one run against one target needs. Independent of Kubernetes. */
export interface RunRequest {
  readonly runId: string;
  readonly probe: ProbeRef;
  /**
   * Identity of the prober: the UID of the StorageProbe with the Lease and the leader's term, or for the CLI, an ID kept in
   * the user's state folder. Stable across runs and unique to each prober, so that two probers never share a bucket.
   */
  readonly owner: string;
  readonly target: RunTarget;
  readonly bucket: BucketPlan;
  readonly objectSizesBytes: readonly number[];
  /** Time limit for all six steps together. */
  readonly timeoutMs: number;
  /** Time limit for the clean-up after a failure, from the start of the clean-up. */
  readonly cleanUpTimeoutMs: number;
}

export const FUNCTION_NAMES = [
  'CHECK_BUCKET',
  'CREATE_OBJECT',
  'ADD_OBJECT',
  'FETCH_OBJECT',
  'REMOVE_OBJECT',
  'REMOVE_BUCKET',
] as const;
/** Stable name of a step. */
export type FunctionName = (typeof FUNCTION_NAMES)[number];

/** Duration of each phase of a call. A phase that did not happen is absent: a reused connection has no DNS phase. */
export interface Phases {
  /** Time spent waiting in the prober for other lookups. It says nothing about the target. */
  waitMs?: number;
  /** Absent if the address was known. */
  dnsMs?: number;
  /** To the target or its proxy. */
  connectMs?: number;
  /** Until the proxy has opened a tunnel to the target. */
  proxyMs?: number;
  tlsMs?: number;
  /** Until the kernel has the request's headers and body. */
  sendMs?: number;
  /**
   * From the last byte sent to the first byte of the response: mostly the time that the store needs to process the
   * request.
   */
  firstByteMs?: number;
  /** From the first to the last byte of the response. */
  bodyMs?: number;
}

/** An attempt to connect to one of several addresses. */
export interface ConnectionAttempt {
  address: string;
  durationMs: number;
  /** `connected`, `abandoned` (another address was faster, or the call stopped), or an error code such as `ECONNREFUSED`. */
  outcome: string;
}

/** Result of one S3 request. */
export interface CallResult {
  /** S3 name of the operation, for example `PutObject`. */
  operation: string;
  /** Time since the start of the run. */
  startOffsetMs: number;
  durationMs: number;
  phases: Phases;
  bytesSent: number;
  bytesReceived: number;
  reusedConnection: boolean;
  /** HTTP status. Absent if there was no response. */
  status?: number;
  /** The `x-amz-request-id` header. */
  requestId?: string;
  /** The `x-amz-id-2` header. On MinIO, it identifies the node that responded. */
  hostId?: string;
  /** The `server` header. */
  server?: string;
  /** Remote IP address of the connection: the target's or its proxy's. */
  remoteAddress?: string;
  remotePort?: number;
  /** Attempts to connect, in the order of their start. Absent if there was only one. */
  attempts?: ConnectionAttempt[];
  /** `host:port` of the proxy. Absent if the connection is direct. */
  proxy?: string;
  tlsProtocol?: string;
  /** Expiry of the server's certificate, ISO 8601. */
  certificateNotAfter?: string;
  reason?: Reason;
  message?: string;
}

export type StepOutcome = 'passed' | 'failed' | 'skipped';

export interface StepResult {
  /** Name of the step's span. */
  name: string;
  functionName: FunctionName;
  outcome: StepOutcome;
  /** Time since the start of the run. Absent if the step was skipped. */
  startOffsetMs?: number;
  durationMs?: number;
  reason?: Reason;
  message?: string;
  calls: CallResult[];
}

/** The one record of a run. All outputs are derived from it, so they never disagree. */
export interface RunResult {
  runId: string;
  traceId: string;
  /** ID of the root span. */
  spanId: string;
  probe: ProbeRef;
  target: string;
  endpoint: string;
  bucket: string;
  /** ISO 8601. */
  startTime: string;
  durationMs: number;
  verdict: Verdict;
  /** Absent if the run passed. */
  reason?: Reason;
  failedStep?: FunctionName;
  /** One line about what happened and where to find it. Contains no secret and no stack trace. */
  message?: string;
  steps: StepResult[];
  /** Buckets and objects that the run created but could not remove, as `bucket` or `bucket/key`. */
  leftBehind: string[];
}
