/** One request to the API server. */
export interface KubeRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Percent-encoded, as returned by `resourcePath`. */
  readonly path: string;
  /** Undefined members are omitted. */
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Default `application/json`. Required for PATCH, where it selects the patch type. */
  readonly contentType?: string;
  /** Default `application/json`. */
  readonly accept?: string;
  /** Time limit for the request, including retries and waiting for a connection. For a stream, only until the response starts. Default 30,000. */
  readonly timeoutMs?: number;
  /** If true, the request never waits for requests that are not urgent. Default false. */
  readonly isUrgent?: boolean;
}

/** Client for the API server: JSON over HTTP. */
export interface KubeClient {
  /**
   * Resolves with the parsed response.
   * @throws {KubeError} if the request gets no response or an error response.
   * @throws `signal.reason` as soon as `signal` aborts.
   */
  request<T>(request: KubeRequest, signal: AbortSignal): Promise<T>;
  /**
   * Yields one parsed JSON value per line of the response, as in a watch, until the response ends. Leaving the loop
   * closes the connection. Throws like {@link request}.
   */
  stream(request: KubeRequest, signal: AbortSignal): AsyncIterable<unknown>;
  /** Closes all connections. Requests in progress fail. */
  close(): Promise<void>;
}

export interface KubeErrorDetails {
  /** HTTP status; 0 if there was no response. */
  readonly status: number;
  readonly reason: string;
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

/** A failed request to the API server. The message is one line for users, and has no bodies, headers or credentials. */
export class KubeError extends Error {
  override readonly name = 'KubeError';
  /** HTTP status; 0 if there was no response. */
  readonly status: number;
  /**
   * `metav1.Status.reason`: `NotFound`, `AlreadyExists`, `Conflict`, `Expired`, `Forbidden`, … If the status is 0:
   * `ConnectionFailed`, `Timeout` or `CredentialsFailed`. `InvalidAnswer` or `ResponseTooLong` if the response cannot be used.
   */
  readonly reason: string;
  /** Delay that the server requested before the next attempt. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, { status, reason, retryAfterMs, cause }: KubeErrorDetails) {
    super(message, cause === undefined ? undefined : { cause });
    this.status = status;
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
  }
}

/** True for a `KubeError` with one of these reasons, as in `hasReason(error, 'NotFound', 'Gone')`. */
export function hasReason(error: unknown, ...reasons: string[]): error is KubeError {
  return error instanceof KubeError && reasons.includes(error.reason);
}

/** The subset of pino's logger that this folder uses. */
export interface KubeLogger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface KubeClientMetrics {
  /**
   * Called for each attempt when the response starts or the attempt fails.
   * @param code HTTP status, or `<error>` if there was no response, as in client-go's `rest_client_requests_total`.
   */
  request(method: string, code: string, durationMs: number): void;
}
