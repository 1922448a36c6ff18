import type { Reason, Verdict } from './reasons.ts';

/** Access to one target. Never logged, exported or put into an error. */
export interface Credentials {
  readonly accessKey: string;
  readonly secretKey: string;
  /** Of temporary credentials (STS). */
  readonly sessionToken?: string;
}

/** Whose run it is. */
export interface ProbeRef {
  readonly namespace: string;
  readonly name: string;
}

/** One target with all that a call to it needs. */
export interface RunTarget {
  /** Unique in its probe; also the trace's `service.name`. */
  readonly name: string;
  /** `http://host[:port]` or `https://host[:port]`, without a path. */
  readonly endpoint: string;
  readonly region: string;
  readonly credentials: Credentials;
  /** PEM bundle; replaces the system's authorities. */
  readonly ca?: string;
}

/**
 * `Ephemeral`: a bucket of the probe's own, made and removed by each run. `Existing`: a bucket that is there, never
 * made and never removed.
 */
export type BucketPlan =
  | { readonly mode: 'Ephemeral' }
  | { readonly mode: 'Existing'; readonly name: string };

/** What the probe needs to make one run against one target. Kubernetes-free. */
export interface RunRequest {
  readonly runId: string;
  readonly probe: ProbeRef;
  /**
   * Who probes: stable over the runs of one prober and different between probers (the resource's UID, or the laptop's
   * user and host), so that two of them never share a bucket.
   */
  readonly owner: string;
  readonly target: RunTarget;
  readonly bucket: BucketPlan;
  readonly objectSizesBytes: readonly number[];
  /** For all six steps together. */
  readonly timeoutMs: number;
  /** For the clean-up after a failure, counted from when it starts. */
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
/** The stable name of a step. */
export type FunctionName = (typeof FUNCTION_NAMES)[number];

/** Where the time of one call went, in ms; a phase that did not happen is absent (a reused connection has no DNS). */
export interface Phases {
  dnsMs?: number;
  connectMs?: number;
  tlsMs?: number;
  /** Request head and body handed to the kernel. */
  sendMs?: number;
  /** From the last byte sent to the first byte of the answer: the store's own time. */
  firstByteMs?: number;
  /** From the first to the last byte of the answer. */
  bodyMs?: number;
}

/** One S3 request as it went. */
export interface CallResult {
  /** S3's name of the operation, for example `PutObject`. */
  operation: string;
  /** From the start of the run. */
  startOffsetMs: number;
  durationMs: number;
  phases: Phases;
  bytesSent: number;
  bytesReceived: number;
  reusedConnection: boolean;
  /** HTTP status; absent when no answer came. */
  status?: number;
  /** `x-amz-request-id`. */
  requestId?: string;
  /** `x-amz-id-2`: on MinIO, which node answered. */
  hostId?: string;
  /** The `server` header. */
  server?: string;
  /** IP address that was connected to. */
  remoteAddress?: string;
  tlsProtocol?: string;
  /** When the server's certificate ends, ISO 8601. */
  certificateNotAfter?: string;
  reason?: Reason;
  message?: string;
}

export type StepOutcome = 'passed' | 'failed' | 'skipped';

export interface StepResult {
  /** The span's name. */
  name: string;
  functionName: FunctionName;
  outcome: StepOutcome;
  /** From the start of the run; absent when skipped. */
  startOffsetMs?: number;
  durationMs?: number;
  reason?: Reason;
  message?: string;
  calls: CallResult[];
}

/** The one record of a run; every sink reads it and none computes its own truth. */
export interface RunResult {
  runId: string;
  traceId: string;
  /** Of the root span. */
  spanId: string;
  probe: ProbeRef;
  target: string;
  endpoint: string;
  bucket: string;
  /** ISO 8601. */
  startTime: string;
  durationMs: number;
  verdict: Verdict;
  /** Absent when passed. */
  reason?: Reason;
  failedStep?: FunctionName;
  /** One line: what happened, with what a reader needs to find it. No secret, no stack. */
  message?: string;
  steps: StepResult[];
  /** What the run made and could not remove, as `bucket` or `bucket/key`. */
  leftBehind: string[];
}
