import { KubeError } from './kube-client.ts';

/** Log fields that describe an error. */
export interface ErrorFields {
  /** Reason of a `KubeError`; for any other error, its name. */
  readonly reason: string;
  readonly error: string;
}

export function errorFields(error: unknown): ErrorFields {
  if (error instanceof KubeError) return { reason: error.reason, error: error.message };
  if (error instanceof Error) return { reason: error.name, error: error.message };
  return {
    reason: 'NoError',
    error: `thrown value is not an Error: ${typeof error === 'string' ? error : typeof error}`,
  };
}
