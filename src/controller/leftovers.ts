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

interface Former {
  readonly entry: ProbeEntry;
  readonly plan: ProbePlan | undefined;
  readonly target: TargetEntry;
}

/** Targets that are cleaned up at a time. */
const CONCURRENCY = 10;
/** Names of what is left behind in one log line. */
const MAX_LOGGED = 10;

/** Removes what the runs of a target that is no longer probed may have left in its store. */
export class Leftovers {
  readonly #deps: LeftoversDeps;
  readonly #queue = new PQueue({ concurrency: CONCURRENCY });
  readonly #stopping = new AbortController();

  constructor(deps: LeftoversDeps) {
    this.#deps = deps;
  }

  /** @param ended resolves when the last run of the target has ended. */
  removeAfter(ended: Promise<void>, former: Former): void {
    void this.#queue.add(async () => {
      await ended;
      if (!former.target.isClean) await this.#remove(former);
    });
  }

  /** Resolves when nothing is under way any more; once `signal` aborts, what is left is given up. */
  async finish(signal: AbortSignal): Promise<void> {
    const giveUp = (): void => {
      this.#queue.clear();
      this.#stopping.abort();
    };
    if (signal.aborted) giveUp();
    else signal.addEventListener('abort', giveUp, { once: true });
    await this.#queue.onIdle();
    signal.removeEventListener('abort', giveUp);
  }

  async #remove({ entry, plan, target }: Former): Promise<void> {
    const { log, probe, runner } = this.#deps;
    const { signal } = this.#stopping;
    const where = { probe: `${entry.namespace}/${entry.name}`, target: target.plan.name };
    const resolved = target.resolved ?? (await runner.resolve(entry, target, signal));
    if (plan === undefined || resolved === undefined) {
      log.warn({ ...where, error: target.obstacle?.message }, 'nothing was cleaned up');
      return;
    }
    const request = { ...runTemplate(plan, resolved), owner: entry.uid };
    const { error, leftBehind, removed } = await cleanUpProbe(request, probe, signal);
    const fields = { ...where, removed: removed.length };
    if (error === undefined && leftBehind.length === 0) {
      log.info(fields, 'cleaned up');
    } else {
      const left = {
        leftBehind: leftBehind.slice(0, MAX_LOGGED),
        reason: error?.reason,
        error: error?.message,
      };
      log.warn({ ...fields, ...left }, 'not all was cleaned up');
    }
  }
}
