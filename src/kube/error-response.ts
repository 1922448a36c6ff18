import type { Clock } from '../clock/clock.ts';
import { KubeError, type KubeRequest } from './kube-client.ts';
import { oneLine } from '../api/one-line.ts';

/** A response whose status is not 2xx. */
export interface ErrorResponse {
  readonly status: number;
  /** Value of the `Retry-After` header. */
  readonly retryAfter: string | undefined;
  /** Undefined if the body could not be read, for example because it is too long. */
  readonly body: string | undefined;
}

/** The fields of `metav1.Status` that are used here. */
interface Status {
  readonly reason?: unknown;
  readonly message?: unknown;
  readonly details?: { readonly retryAfterSeconds?: unknown };
}

/**
 * Reasons for responses without a `metav1.Status`. Proxies and servers that are still starting send such responses.
 * Source: apimachinery, `NewGenericServerResponse`.
 */
const REASONS: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  409: 'Conflict',
  410: 'Gone',
  413: 'RequestEntityTooLarge',
  415: 'UnsupportedMediaType',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
};

const MAX_MESSAGE_LENGTH = 300;

/** Maximum retry delay. Longer `Retry-After` values are capped at this. */
const MAX_RETRY_AFTER_MS = 600_000;

/**
 * Creates the error for a response. The error message quotes the message of a `metav1.Status`, but never any other
 * response body.
 */
export function errorFromResponse(
  { method, path }: Pick<KubeRequest, 'method' | 'path'>,
  response: ErrorResponse,
  clock: Clock,
): KubeError {
  const status = statusIn(response.body);
  const code = response.status;
  const reason = typeof status.reason === 'string' && status.reason !== '' ? status.reason : reasonOf(code);
  const message =
    typeof status.message === 'string' ? `: ${oneLine(status.message, MAX_MESSAGE_LENGTH)}` : '';
  return new KubeError(`${method} ${path}: ${code} ${oneLine(reason)}${message}`, {
    status: code,
    reason,
    retryAfterMs: retryAfterMs(response.retryAfter, status, clock),
  });
}

/** @param object the `metav1.Status` from the `ERROR` event of a watch. */
export function errorFromStatus(
  request: Pick<KubeRequest, 'method' | 'path'>,
  object: unknown,
  clock: Clock,
): KubeError {
  const body = JSON.stringify(object);
  const code = isObject(object) && 'code' in object && typeof object.code === 'number' ? object.code : 500;
  return errorFromResponse(request, { status: code, retryAfter: undefined, body }, clock);
}

function statusIn(body: string | undefined): Status {
  try {
    const status: unknown = JSON.parse(body ?? '');
    return isObject(status) && 'kind' in status && status.kind === 'Status' ? (status as Status) : {};
  } catch {
    return {};
  }
}

function reasonOf(status: number): string {
  return REASONS[status] ?? (status >= 300 && status < 400 ? 'Redirected' : 'Unknown');
}

function retryAfterMs(header: string | undefined, { details }: Status, clock: Clock): number | undefined {
  const seconds = header === undefined ? details?.retryAfterSeconds : Number(header);
  const ms = Number.isNaN(seconds) ? Date.parse(header ?? '') - clock.now() : Number(seconds) * 1_000;
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS) : undefined;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
