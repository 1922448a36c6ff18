import type { Clock } from '../clock/clock.ts';
import { KubeError, type KubeRequest } from './kube-client.ts';
import { oneLine } from './one-line.ts';

/** An answer that is no success. */
export interface Refusal {
  readonly status: number;
  /** Of the header of this name. */
  readonly retryAfter: string | undefined;
  /** Undefined when it is too long to be read. */
  readonly body: string | undefined;
}

/** What is used here of `metav1.Status`. */
interface Status {
  readonly reason?: unknown;
  readonly message?: unknown;
  readonly details?: { readonly retryAfterSeconds?: unknown };
}

/**
 * For answers without a `metav1.Status`, which come from proxies and from a server that is not up yet.
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

/** A server that asks for more is asked again all the same. */
const MAX_RETRY_AFTER_MS = 600_000;

/** Only the message of a `metav1.Status` is shown, bounded; of another body, nothing. */
export function refusalError(
  { method, path }: Pick<KubeRequest, 'method' | 'path'>,
  refusal: Refusal,
  clock: Clock,
): KubeError {
  const status = statusIn(refusal.body);
  const code = refusal.status;
  const reason = typeof status.reason === 'string' && status.reason !== '' ? status.reason : reasonOf(code);
  const message = typeof status.message === 'string' ? `: ${oneLine(status.message)}` : '';
  return new KubeError(`${method} ${path}: ${code} ${oneLine(reason)}${message}`, {
    status: code,
    reason,
    retryAfterMs: retryAfterMs(refusal.retryAfter, status, clock),
  });
}

/** The `ERROR` event of a watch holds a `metav1.Status` as its object. */
export function statusError(
  request: Pick<KubeRequest, 'method' | 'path'>,
  object: unknown,
  clock: Clock,
): KubeError {
  const body = JSON.stringify(object);
  const code = isObject(object) && 'code' in object && typeof object.code === 'number' ? object.code : 500;
  return refusalError(request, { status: code, retryAfter: undefined, body }, clock);
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
