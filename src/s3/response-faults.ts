import { oneLine } from '../api/one-line.ts';
import type { Reason } from '../api/reasons.ts';
import type { Answerer } from './answered-by.ts';
import { OPERATIONS } from './operations.ts';
import { type FailedResponse, reasonFor, skewMs } from './reason-for.ts';
import { errorElement } from './s3-document.ts';
import type { Fault } from './s3-error.ts';
import { type Exchange, header } from './transport.ts';

/** Longest piece of a response that a message quotes, in characters. */
const MAX_EXCERPT = 160;

/** Derives the fault from a failed response that `by` sent. */
export function responseFault(response: Omit<FailedResponse, 'code'>, by: Answerer): Fault {
  const code = by === 'S3 store' ? errorCode(response.exchange, response.text) : undefined;
  const failed = { ...response, code };
  const reason = reasonFor(failed, by);
  const status = `${response.exchange.status}`;
  return {
    reason,
    code,
    by,
    message: [status, code, detailOf(failed, reason, by)].filter(Boolean).join(' '),
  };
}

function errorCode(exchange: Exchange, text: string): string | undefined {
  const code = errorElement(text, 'Code') ?? header(exchange, 'x-minio-error-code');
  return code === undefined ? undefined : printable(code);
}

function detailOf(response: FailedResponse, reason: Reason, by: Answerer): string {
  const { exchange, text } = response;
  const requestId = header(exchange, 'x-amz-request-id');
  const suffix = requestId === undefined ? '' : ` (request ID ${printable(requestId)})`;
  if (reason === 'ClockSkew') return `${skewDetail(response)}${suffix}`;
  if (reason === 'Redirected') return `pointing to ${redirectTarget(response)}`;
  if (reason === 'RegionMismatch') {
    const region = errorElement(text, 'Region') ?? header(exchange, 'x-amz-bucket-region');
    if (region !== undefined) return `the store is in region ${printable(region)}${suffix}`;
  }
  if (by !== 'S3 store') return foreignDetail(exchange, text);
  const description = errorElement(text, 'Message') ?? header(exchange, 'x-minio-error-desc');
  const needed = reason === 'AccessDenied' ? ` (needs ${OPERATIONS[response.operation].action})` : '';
  return `${description === undefined ? '' : printable(description)}${needed}${suffix}`.trim();
}

function skewDetail(response: FailedResponse): string {
  const seconds = Math.round(skewMs(response) / 1_000);
  if (Number.isNaN(seconds)) return 'the clocks differ';
  return `the store's clock is ${Math.abs(seconds)} s ${seconds < 0 ? 'behind' : 'ahead of'} the prober's`;
}

/** Leaves out user name, query and fragment, because they can contain tokens. */
function redirectTarget({ exchange, text, host }: FailedResponse): string {
  const endpoint = errorElement(text, 'Endpoint');
  if (endpoint !== undefined) return printable(endpoint.replace(/[?#].*/s, ''));
  const location = header(exchange, 'location');
  if (location === undefined) return 'an unknown location';
  const url = URL.parse(location, `http://${host}`);
  if (url === null || !/^https?:$/.test(url.protocol)) return 'a location that is not an HTTP URL';
  const isRelative = !/^(https?:|\/\/)/i.test(location.trim());
  return printable(isRelative ? url.pathname : `${url.protocol}//${url.host}${url.pathname}`);
}

/** Describes a response that did not come from an S3 store. */
export function foreignDetail(exchange: Exchange, text: string): string {
  const type = header(exchange, 'content-type') ?? 'no content type';
  const server = header(exchange, 'server');
  const from = server === undefined ? '' : ` from ${printable(server)}`;
  const title = printable(/<title>([^<]*)<\/title>/i.exec(text)?.[1] ?? text.replaceAll(/<[^<>]*>/g, ' '));
  return `is not an S3 response (${printable(type)}${from})${title === '' ? '' : `: "${title}"`}`;
}

/** Returns one bounded line of foreign text, without enclosing quotation marks. */
function printable(text: string): string {
  return oneLine(text, MAX_EXCERPT).replace(/^"(.*)"$/, '$1');
}
