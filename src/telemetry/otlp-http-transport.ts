import { promisify } from 'node:util';
import { gzip } from 'node:zlib';

import { JsonTraceSerializer, ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { Agent, type Dispatcher, request } from 'undici';

import type { OtlpSettings } from './otlp-settings.ts';
import { protocolOf } from './otlp-receiver.ts';
import { readAccepted } from './otlp-response.ts';
import type { Delivery, OtlpTransport } from './otlp-transport.ts';

const compress = promisify(gzip);
/** Source: OTLP specification, "OTLP/HTTP Response". */
const RETRYABLE_STATUSES = new Set([429, 502, 503, 504]);
/** Status codes of a server that has no OTLP receiver at the URL. */
const NOT_THERE_STATUSES = new Set([404, 405]);
/** A response is a few bytes. */
const MAX_RESPONSE_BYTES = 65_536;

/** Sends spans over OTLP/HTTP. */
export class OtlpHttpTransport implements OtlpTransport {
  readonly #settings: OtlpSettings;
  readonly #agent: Agent;
  readonly #serializer;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(settings: OtlpSettings) {
    const isJson = settings.protocol === 'http/json';
    this.#settings = settings;
    this.#agent = new Agent({ connect: settings.tls, connections: 1, allowH2: false });
    this.#serializer = isJson ? JsonTraceSerializer : ProtobufTraceSerializer;
    this.#headers = {
      ...settings.headers,
      'content-type': isJson ? 'application/json' : 'application/x-protobuf',
      ...(settings.gzip && { 'content-encoding': 'gzip' }),
    };
  }

  async send(spans: ReadableSpan[], signal: AbortSignal): Promise<Delivery> {
    try {
      const serialized = this.#serializer.serializeRequest(spans) ?? new Uint8Array();
      const body = this.#settings.gzip ? await compress(serialized) : serialized;
      const response = await request(this.#settings.url, {
        method: 'POST',
        headers: this.#headers,
        body,
        signal,
        dispatcher: this.#agent,
        // The caller limits the time of an attempt.
        headersTimeout: 0,
        bodyTimeout: 0,
      });
      return await this.#read(response);
    } catch (error) {
      return this.#explain(error, signal);
    }
  }

  close(): void {
    void this.#agent.destroy().catch(() => undefined);
  }

  async #read({ statusCode, headers, body }: Dispatcher.ResponseData): Promise<Delivery> {
    const content = await readUpTo(body, MAX_RESPONSE_BYTES);
    const isSuccess = statusCode >= 200 && statusCode < 300;
    if (isSuccess && !isHtml(headers['content-type'])) return readAccepted(this.#serializer, content);
    const where = `${this.#settings.url.origin}${this.#settings.url.pathname}`;
    if (isSuccess || NOT_THERE_STATUSES.has(statusCode)) {
      return {
        outcome: 'failed',
        message: `HTTP ${statusCode}: no OTLP receiver at ${where}`,
        isRetryable: false,
      };
    }
    const retryAfterMs = parseRetryAfterMs(headers['retry-after'], headers['date']);
    return {
      outcome: 'failed',
      message: `HTTP ${statusCode} from ${where}`,
      isRetryable: RETRYABLE_STATUSES.has(statusCode),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    };
  }

  async #explain(error: unknown, signal: AbortSignal): Promise<Delivery> {
    const { url } = this.#settings;
    if (!signal.aborted && (await protocolOf(this.#settings, signal)) === 'http/2') {
      return {
        outcome: 'failed',
        message: `${url.host} does not answer OTLP/HTTP but speaks HTTP/2, as gRPC does; set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or use the port for HTTP, usually 4318`,
        isRetryable: false,
      };
    }
    return { outcome: 'failed', message: describe(error), isRetryable: true };
  }
}

/** An AggregateError of several connection attempts has an empty message. */
function describe(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return describe(error.errors[0]);
  return error instanceof Error && error.message !== '' ? error.message : String(error);
}

function isHtml(contentType: string | string[] | undefined): boolean {
  return String(contentType ?? '').startsWith('text/html');
}

async function readUpTo(body: AsyncIterable<Buffer>, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    // Leaving the loop destroys the body.
    if (length > maxBytes) return Buffer.alloc(0);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/**
 * Time until `Retry-After`: a number of seconds, or a date, which is compared with the receiver's own clock. Undefined
 * if absent or not understood. Source: RFC 9110, section 10.2.3.
 */
export function parseRetryAfterMs(
  retryAfter: string | string[] | undefined,
  date: string | string[] | undefined,
): number | undefined {
  const text = String(retryAfter ?? '').trim();
  if (/^\d+$/.test(text)) return Number(text) * 1_000;
  const delayMs = Date.parse(text) - Date.parse(String(date ?? ''));
  return Number.isNaN(delayMs) ? undefined : Math.max(0, delayMs);
}
