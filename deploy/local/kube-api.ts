import { Agent, request } from 'undici';

import { ADMIN, type KubeAccess, tokenOf } from './control-plane.ts';

export interface KubeQuestion {
  /** Default `GET`. */
  readonly method?: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** With its query. */
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string;
  /** Who asks. Default: the admin. */
  readonly user?: string;
}

export interface KubeAnswer {
  readonly status: number;
  /** Text where the answer is not JSON, as for a path that the API server does not know. */
  readonly body: unknown;
}

const TIMEOUT_MS = 30_000;

/** Asks the API server of a control plane, over a connection of its own. An answer of any status is an answer. */
export async function askKube(
  access: KubeAccess,
  question: KubeQuestion,
  signal?: AbortSignal,
): Promise<KubeAnswer> {
  const { method = 'GET', path, body, user = ADMIN } = question;
  const { contentType = 'application/json', accept = 'application/json' } = question;
  const deadline = AbortSignal.timeout(TIMEOUT_MS);
  const agent = new Agent({ connect: { ca: access.caPem } });
  try {
    const answer = await request(`${access.url}${path}`, {
      dispatcher: agent,
      method,
      headers: { authorization: `Bearer ${tokenOf(access, user)}`, accept, 'content-type': contentType },
      body: body === undefined ? null : JSON.stringify(body),
      signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]),
    });
    const text = await answer.body.text();
    const isJson = String(answer.headers['content-type']).startsWith('application/json');
    return { status: answer.statusCode, body: isJson ? JSON.parse(text) : text };
  } finally {
    await agent.destroy();
  }
}

/**
 * {@link askKube}, for answers that have to be good.
 *
 * @throws Error with the API server's own words.
 */
export async function askKubeFor<T>(
  access: KubeAccess,
  question: KubeQuestion,
  signal?: AbortSignal,
): Promise<T> {
  const { status, body } = await askKube(access, question, signal);
  if (status < 300) return body as T;
  const said = typeof body === 'string' ? body.trim() : (body as { message?: string }).message;
  throw new Error(`${question.method ?? 'GET'} ${question.path}: HTTP ${status}: ${said}`);
}
