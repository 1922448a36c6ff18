import type { Logger } from 'pino';
import PQueue from 'p-queue';

import type { ProbePlan } from '../api/plan.ts';
import { runTemplate } from '../api/run-template.ts';
import { type CleanUpDeps, cleanUpProbe } from '../probe/clean-up.ts';
import type { ProbeEntry, TargetEntry } from './probe-entries.ts';
import type { ProbeRunner } from './probe-runner.ts';

export interface LeftoversDeps {
  readonly runner: ProbeRunner;
  readonly probe: CleanUpDeps;
  readonly log: Logger;
}

interface RemovedTarget {
  readonly entry: ProbeEntry;
  readonly plan: ProbePlan | undefined;
  readonly target: TargetEntry;
}

/** Targets cleaned up in parallel. */
const CONCURRENCY = 10;
/** Maximum number of leftovers named in one log line. */
const MAX_LOGGED = 10;

/** Removes objects and buckets that runs of a removed target may have left in its store. */
export class LeftoverCleaner {
  readonly #deps: LeftoversDeps;
  readonly #queue = new PQueue({ concurrency: CONCURRENCY });
  readonly #cancellation = new AbortController();

  constructor(deps: LeftoversDeps) {
    this.#deps = deps;
  }

  /** @param lastRun resolves when the last run of the target has finished. */
  cleanUpAfter(lastRun: Promise<void>, removed: RemovedTarget): void {
    void this.#queue.add(async () => {
      await lastRun;
      if (!removed.target.isClean) await this.#cleanUp(removed);
    });
  }

  /** Resolves when all clean-ups have finished. If `signal` aborts, the remaining clean-ups are cancelled. */
  async finish(signal: AbortSignal): Promise<void> {
    const cancel = (): void => {
      this.#queue.clear();
      this.#cancellation.abort();
    };
    if (signal.aborted) cancel();
    else signal.addEventListener('abort', cancel, { once: true });
    await this.#queue.onIdle();
    signal.removeEventListener('abort', cancel);
  }

  async #cleanUp({ entry, plan, target }: RemovedTarget): Promise<void> {
    const { log, probe, runner } = this.#deps;
    const { signal } = this.#cancellation;
    const labels = { probe: `${entry.namespace}/${entry.name}`, target: target.plan.name };
    // The credentials of a Secret may be gone with the probe, but those of a web identity may have expired.
    const renewed = 'webIdentity' in target.plan.credentials && (await runner.resolve(entry, target, signal));
    const resolved = renewed || (target.resolved ?? (await runner.resolve(entry, target, signal)));
    if (plan === undefined || resolved === undefined) {
      log.warn(
        { ...labels, error: target.obstacle?.message },
        'clean-up skipped: no valid spec or no credentials',
      );
      return;
    }
    const request = { ...runTemplate(plan, resolved), owner: entry.uid };
    const { error, leftBehind, removed } = await cleanUpProbe(request, probe, signal);
    const fields = { ...labels, removed: removed.length };
    if (error === undefined && leftBehind.length === 0) {
      log.info(fields, 'clean-up finished');
    } else {
      const left = {
        leftBehind: leftBehind.slice(0, MAX_LOGGED),
        reason: error?.reason,
        error: error?.message,
      };
      log.warn({ ...fields, ...left }, 'clean-up incomplete');
    }
  }
}
