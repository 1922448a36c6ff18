import { KubeError } from './kube-client.ts';

/** What a log line says of a failure. */
export interface Fault {
  /** One word; that of a KubeError, else the error's name. */
  readonly reason: string;
  readonly error: string;
}

export function faultOf(error: unknown): Fault {
  if (error instanceof KubeError) return { reason: error.reason, error: error.message };
  if (error instanceof Error) return { reason: error.name, error: error.message };
  return { reason: 'NoError', error: `thrown: ${typeof error === 'string' ? error : typeof error}` };
}
