/** One request to the API server. */
export interface KubeRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Percent-encoded, as `resourcePath` makes it. */
  readonly path: string;
  /** Members that are undefined are left out. */
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Default `application/json`; a PATCH has to say which kind of patch it is. */
  readonly contentType?: string;
  /** Default `application/json`. */
  readonly accept?: string;
  /** For the whole request with its retries; for a stream until its answer begins. Default 30,000. */
  readonly timeoutMs?: number;
}

/** The API server, as JSON over HTTP. An interface, so that tests can put a scripted one in its place. */
export interface KubeClient {
  /**
   * Resolves with the parsed answer.
   * @throws {KubeError} when there is no answer, or one that refuses.
   * @throws `signal.reason` as soon as `signal` aborts.
   */
  request<T>(request: KubeRequest, signal: AbortSignal): Promise<T>;
  /**
   * Yields one parsed JSON value per line of the answer, as a watch sends them, and ends when the server ends it.
   * Leaving the loop closes the connection. Throws as {@link request} does.
   */
  stream(request: KubeRequest, signal: AbortSignal): AsyncIterable<unknown>;
  /** Closes all connections; what is under way fails. */
  close(): Promise<void>;
}

export interface KubeErrorDetails {
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;
  readonly reason: string;
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

/**
 * A request to the API server failed. The message is one line for users: it never holds bodies, headers or
 * credentials.
 */
export class KubeError extends Error {
  override readonly name = 'KubeError';
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;
  /**
   * `metav1.Status.reason`: `NotFound`, `AlreadyExists`, `Conflict`, `Expired`, `Forbidden`, … With status 0:
   * `ConnectionFailed`, `Timeout`, or `CredentialsFailed` when none could be got. `InvalidAnswer` when an answer is
   * not what the API server sends, or is longer than its limit.
   */
  readonly reason: string;
  /** How long the server asks to wait before the next attempt. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, { status, reason, retryAfterMs, cause }: KubeErrorDetails) {
    super(message, cause === undefined ? undefined : { cause });
    this.status = status;
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
  }
}

/** By `error.reason`, as in `hasReason(error, 'NotFound', 'Gone')`. */
export function hasReason(error: unknown, ...reasons: string[]): error is KubeError {
  return error instanceof KubeError && reasons.includes(error.reason);
}

/** What the parts of this folder tell a log: the subset of pino that they use. */
export interface KubeLogger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface KubeClientMetrics {
  /**
   * Each attempt, when its answer has begun or has failed to come.
   * @param code HTTP status, or `<error>` when no answer came, as client-go's `rest_client_requests_total` has it.
   */
  request(method: string, code: string, durationMs: number): void;
}
