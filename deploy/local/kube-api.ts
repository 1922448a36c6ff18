import { Agent, request as undiciRequest } from 'undici';

import { ADMIN, type KubeAccess, tokenOf } from './control-plane.ts';

export interface KubeApiRequest {
  /** Default `GET`. */
  readonly method?: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** Path including the query. */
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string;
  /** User that sends the request. Default: the admin. */
  readonly user?: string;
}

export interface KubeApiResponse {
  readonly status: number;
  /** Parsed JSON, or text if the response is not JSON, such as for an unknown path. */
  readonly body: unknown;
}

const TIMEOUT_MS = 30_000;

/** Sends a request to the API server over a new connection. Resolves for any HTTP status. */
export async function requestKube(
  access: KubeAccess,
  request: KubeApiRequest,
  signal?: AbortSignal,
): Promise<KubeApiResponse> {
  const { method = 'GET', path, body, user = ADMIN } = request;
  const { contentType = 'application/json', accept = 'application/json' } = request;
  const deadline = AbortSignal.timeout(TIMEOUT_MS);
  const agent = new Agent({ connect: { ca: access.caPem } });
  try {
    const response = await undiciRequest(`${access.url}${path}`, {
      dispatcher: agent,
      method,
      headers: { authorization: `Bearer ${tokenOf(access, user)}`, accept, 'content-type': contentType },
      body: body === undefined ? null : JSON.stringify(body),
      signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]),
    });
    const text = await response.body.text();
    const isJson = String(response.headers['content-type']).startsWith('application/json');
    return { status: response.statusCode, body: isJson ? JSON.parse(text) : text };
  } finally {
    await agent.destroy();
  }
}

/**
 * Like {@link requestKube}, but returns only the body and requires a 2xx status.
 *
 * @throws Error with the API server's message.
 */
export async function requestKubeBody<T>(
  access: KubeAccess,
  request: KubeApiRequest,
  signal?: AbortSignal,
): Promise<T> {
  const { status, body } = await requestKube(access, request, signal);
  if (status < 300) return body as T;
  const message = typeof body === 'string' ? body.trim() : (body as { message?: string }).message;
  throw new Error(`${request.method ?? 'GET'} ${request.path}: HTTP ${status}: ${message}`);
}
