import type { Logger } from 'pino';
import PQueue from 'p-queue';

import type { ProbePlan } from '../api/plan.ts';
import { runTemplate } from '../api/run-template.ts';
import { type CleanUpDeps, type CleanUpResult, cleanUpProbe } from '../probe/clean-up.ts';
import { type ProbeEntry, runKey, type TargetEntry } from './probe-entries.ts';
import type { ProbeRunner } from './probe-runner.ts';
import type { RunOwners } from './run-owners.ts';

export interface LeftoversDeps {
  readonly runner: ProbeRunner;
  readonly owners: RunOwners;
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
      const { entry, target } = removed;
      if (!target.isClean) await this.#cleanUp(removed);
      // A probe with the same UID and target may have been added again since; it then starts over with all names.
      this.#deps.owners.forget(runKey(entry, target.plan.name));
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
    const { log, owners, probe, runner } = this.#deps;
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
    const request = runTemplate(plan, resolved);
    const key = runKey(entry, target.plan.name);
    const maxRunMs = request.timeoutMs + request.cleanUpTimeoutMs;
    const earlier = owners.removable(key, entry.uid, maxRunMs);
    const results: CleanUpResult[] = [];
    for (const owner of new Set([owners.current(entry.uid), ...earlier])) {
      const cleanUpTimeoutMs = owners.removalMs(request.cleanUpTimeoutMs);
      results.push(await cleanUpProbe({ ...request, owner, cleanUpTimeoutMs }, probe, signal));
    }
    const removed = results.flatMap((result) => result.removed);
    const leftBehind = results.flatMap((result) => result.leftBehind);
    const error = results.find((result) => result.error !== undefined)?.error;
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
