import type { Clock } from '../clock/clock.ts';
import type { KubeClient } from './kube-client.ts';

export interface FenceOptions {
  readonly clock: Clock;
  /** Time for which this process is still the leader. 0 if it is not. */
  readonly leadsForMs: () => number;
}

const RECHECK_MS = 500;
const DEFAULT_TIMEOUT_MS = 30_000;

/**
 * Client for writes that only the leader may make. A request waits while this process is not the leader, and times out
 * when leadership does. Without this, writes of a leader that was cut off would arrive after another one has taken over.
 */
export function fencedClient(client: KubeClient, { clock, leadsForMs }: FenceOptions): KubeClient {
  return {
    request: async <T>(request: Parameters<KubeClient['request']>[0], signal: AbortSignal): Promise<T> => {
      while (leadsForMs() <= 0) await clock.sleep(RECHECK_MS, signal);
      const timeoutMs = Math.min(request.timeoutMs ?? DEFAULT_TIMEOUT_MS, leadsForMs());
      return client.request<T>({ ...request, timeoutMs }, signal);
    },
    stream: (request, signal) => client.stream(request, signal),
    close: () => client.close(),
  };
}
