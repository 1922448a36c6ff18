import TinyQueue from 'tinyqueue';

import { oneLine } from '../api/one-line.ts';
import type { SchedulePlan } from '../api/plan.ts';
import type { Clock } from '../clock/clock.ts';
import { countDueTimes, type MissedRuns, missedRuns, missedRunsSince } from './missed-runs.ts';
import { type Timetable, timetableFor } from './next-due.ts';
import { TokenBucket } from './token-bucket.ts';
import { Slots } from './slots.ts';
import type { DueRun, ScheduleEntry, SchedulerMetrics, Trigger } from './types.ts';

export interface SchedulerLog {
  warn(fields: object, message: string): void;
}

export interface SchedulerOptions {
  readonly clock: Clock;
  readonly log: SchedulerLog;
  /**
   * Executes a run. Must resolve when the run has finished, and must finish it soon after the signal aborts. A
   * rejection is logged and has no other effect.
   */
  readonly start: (run: DueRun, signal: AbortSignal) => Promise<void>;
  /**
   * Maximum number of runs in progress, at least 1. A single group may use three quarters of them; see {@link Slots}.
   */
  readonly maxInFlight: number;
  /** How long runs in progress may continue after the scheduler stops. Then their signals abort. Default 0. */
  readonly drainMs?: number;
  /**
   * Rate limit for immediate and catch-up runs, so that 1,000 new probes do not all start together. A run that cannot
   * start before its next due time waits for that due time. Default: a burst of 20, then 10 per second.
   */
  readonly startRateLimit?: { readonly burst: number; readonly perSecond: number };
  readonly metrics?: SchedulerMetrics;
}

interface PlannedRun {
  readonly dueMs: number;
  readonly trigger: Trigger;
}

interface ScheduledRun extends PlannedRun {
  readonly item: Item;
}

interface Item {
  entry: ScheduleEntry;
  timetable: Timetable;
  lastStartMs: number | undefined;
  /** The next run. Any other run of this item in the heap is stale. */
  next: ScheduledRun | undefined;
  /** The run waiting for a slot. */
  waiting: PlannedRun | undefined;
  /** Set if another run must start as soon as the current run has finished. */
  rerunTrigger: Trigger | undefined;
}

interface Running {
  readonly abort: AbortController;
  finished: Promise<void>;
}

/** Maximum sleep. The scheduler must wake up this often to notice clock steps and to report that it is alive. */
const MAX_SLEEP_MS = 5_000;
/** Slewing moves a clock by less than this between two checks. Source: adjtimex(2), 500 ppm. */
const MIN_CLOCK_STEP_MS = 1_000;
const MAX_TIMETABLES = 1_000;
const DEFAULT_START_RATE_LIMIT = { burst: 20, perSecond: 10 };

/**
 * Starts runs when they are due. A key never has two runs in progress. If a run falls due while the previous run is in
 * progress or waiting for a slot, the new run is merged into the previous one.
 *
 * With an interval schedule, an immediate or catch-up run also covers a due time up to half a period later.
 *
 * Schedules follow the wall clock. If the clock steps forward, each entry gets a single catch-up run for all skipped
 * due times. If it steps back, no due time is run twice, and the next run starts half to one and a half periods after
 * the last run.
 */
export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #clock: Clock;
  readonly #metrics: SchedulerMetrics | undefined;
  readonly #startTokens: TokenBucket;
  readonly #slots: Slots<Item>;
  readonly #items = new Map<string, Item>();
  /** Runs in progress, by key. Includes runs of removed entries, which may take a while to finish. */
  readonly #running = new Map<string, Running>();
  /** Timetables and their cached due times, shared by entries with the same cron schedule. */
  readonly #cronTimetables = new Map<string, Timetable>();
  #schedule = newHeap();
  #isOpen = false;
  #startedUntilMs: number | undefined;
  /** Wall time minus monotonic time, at the last check. */
  #wallOffsetMs: number;
  #lastProgressMs: number;
  #sleep: { readonly untilMs: number; readonly abort: AbortController } | undefined;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#metrics = options.metrics;
    this.#startTokens = new TokenBucket(options.startRateLimit ?? DEFAULT_START_RATE_LIMIT);
    this.#slots = new Slots(options.maxInFlight);
    this.#wallOffsetMs = this.#clock.now() - this.#clock.monotonicMs();
    this.#lastProgressMs = this.#clock.monotonicMs();
  }

  /** Monotonic time of the last check for due runs. Always recent while {@link run} is in progress. */
  get lastProgressMs(): number {
    return this.#lastProgressMs;
  }

  /**
   * Wall time at which the entry's next run is due. In the past while that run waits to start. Undefined if the entry is
   * unknown, suspended or never due.
   */
  nextDueMs(key: string): number | undefined {
    const { next, waiting } = this.#items.get(key) ?? {};
    // If nothing is scheduled, the waiting run was requested manually and has no due time.
    return next === undefined ? undefined : (waiting ?? next).dueMs;
  }

  /**
   * Adds or changes an entry. If the schedule is unchanged, keeps the planned run.
   *
   * @throws for a cron expression or time zone that the API schema would have rejected.
   */
  set(entry: ScheduleEntry): void {
    const item = this.#items.get(entry.key);
    if (item === undefined) this.#add(entry);
    else this.#change(item, entry);
  }

  /** Removes an entry and aborts its run. Resolves when that run has finished. */
  async remove(key: string): Promise<void> {
    const item = this.#items.get(key);
    if (item !== undefined) {
      this.#items.delete(key);
      item.next = undefined;
      this.#dropWaiting(item);
      this.#metrics?.entries(this.#items.size);
    }
    const running = this.#running.get(key);
    running?.abort.abort();
    await running?.finished;
  }

  /**
   * Starts a run as soon as a slot is free. If a run of the entry is in progress, waits for it to finish first. Also
   * works for a suspended entry. Does nothing for an unknown key.
   */
  runNow(key: string): void {
    const item = this.#items.get(key);
    if (item === undefined) return;
    this.#request(item, { dueMs: this.#clock.now(), trigger: 'run-now' });
    this.#startWaiting();
  }

  /**
   * Starts runs when they are due, until the signal aborts. Resolves when the runs in progress have finished. Must be
   * called only once.
   */
  async run(signal: AbortSignal): Promise<void> {
    const wake = (): void => {
      this.#sleep?.abort.abort();
    };
    signal.addEventListener('abort', wake, { once: true });
    this.#isOpen = true;
    while (!signal.aborted) {
      this.#startDue();
      await this.#sleepUntilNext(signal);
    }
    this.#isOpen = false;
    this.#startedUntilMs = Math.min(this.#clock.now(), this.#firstUnstartedMs() - 1);
    await this.#drain();
  }

  /**
   * Wall time up to which every due run has started. No run due later has started. Defined once {@link run} starts no
   * more runs.
   */
  get startedUntilMs(): number | undefined {
    return this.#startedUntilMs;
  }

  #firstUnstartedMs(): number {
    let firstMs = Infinity;
    for (const { next, waiting } of this.#items.values()) {
      firstMs = Math.min(firstMs, next?.dueMs ?? Infinity, waiting?.dueMs ?? Infinity);
    }
    return firstMs;
  }

  #add(entry: ScheduleEntry): void {
    const item: Item = {
      entry,
      timetable: this.#timetableFor(entry),
      lastStartMs: entry.lastStartMs,
      next: undefined,
      waiting: undefined,
      rerunTrigger: undefined,
    };
    this.#items.set(entry.key, item);
    this.#metrics?.entries(this.#items.size);
    if (entry.suspended === true) return;
    if (startsAtOnce(entry)) this.#plan(item, 'at-once');
    else this.#handleMissedRuns(item, missedRuns(entry, item.timetable, this.#clock.now()));
  }

  #change(item: Item, entry: ScheduleEntry): void {
    const before = item.entry;
    const isSameSchedule = before.seed === entry.seed && isEqual(before.schedule, entry.schedule);
    if (!isSameSchedule) item.timetable = this.#timetableFor(entry);
    item.entry = entry;
    if (entry.suspended === true) this.#suspend(item);
    else if (startsAtOnce(entry)) this.#plan(item, 'at-once');
    else if (!isSameSchedule || before.suspended === true) this.#plan(item, 'schedule');
  }

  #suspend(item: Item): void {
    item.next = undefined;
    if (item.rerunTrigger !== 'run-now') item.rerunTrigger = undefined;
    if (item.waiting?.trigger !== 'run-now') this.#dropWaiting(item);
  }

  #timetableFor({ schedule, seed }: ScheduleEntry): Timetable {
    if ('intervalMs' in schedule) return timetableFor(schedule, seed);
    const name = `${schedule.cron} ${schedule.timeZone}`;
    let cached = this.#cronTimetables.get(name);
    if (cached === undefined) {
      if (this.#cronTimetables.size >= MAX_TIMETABLES) this.#cronTimetables.clear();
      cached = timetableFor(schedule, seed);
      this.#cronTimetables.set(name, cached);
    }
    return cached;
  }

  /** Plans the next start: at the next due time, or earlier if the trigger and the rate limit allow it. */
  #plan(item: Item, trigger: Trigger): void {
    const nowMs = this.#clock.now();
    const { nextMs } = item.timetable(nowMs);
    if (trigger !== 'schedule') {
      const delayMs = this.#startTokens.take(this.#clock.monotonicMs(), nextMs - nowMs);
      if (delayMs !== undefined) {
        this.#push({ item, dueMs: nowMs + delayMs, trigger });
        return;
      }
    }
    this.#push({ item, dueMs: nextMs, trigger: 'schedule' });
  }

  #push(run: ScheduledRun): void {
    run.item.next = undefined;
    if (run.dueMs === Infinity) return;
    run.item.next = run;
    this.#schedule.push(run);
    if (this.#schedule.length > 2 * this.#items.size + 100) this.#rebuildSchedule();
    if (this.#sleep !== undefined && run.dueMs < this.#sleep.untilMs) this.#sleep.abort.abort();
  }

  #rebuildSchedule(): void {
    this.#schedule = newHeap();
    for (const { next } of this.#items.values()) {
      if (next !== undefined) this.#schedule.push(next);
    }
  }

  #startDue(): void {
    this.#lastProgressMs = this.#clock.monotonicMs();
    const nowMs = this.#clock.now();
    this.#detectClockStep(nowMs);
    for (
      let run = this.#schedule.peek();
      run !== undefined && run.dueMs <= nowMs;
      run = this.#schedule.peek()
    ) {
      this.#schedule.pop();
      if (run.item.next === run) this.#onDue(run, nowMs);
    }
    this.#startWaiting();
  }

  #onDue(run: ScheduledRun, nowMs: number): void {
    const { item, dueMs } = run;
    this.#request(item, run);
    let { nextMs } = item.timetable(coveredUntilMs(run, item.entry.schedule));
    if (nextMs <= nowMs) {
      const dueTimes = item.timetable(nowMs);
      this.#metrics?.missed(countDueTimes(dueMs, dueTimes));
      ({ nextMs } = dueTimes);
    }
    this.#push({ item, dueMs: nextMs, trigger: 'schedule' });
  }

  #detectClockStep(nowMs: number): void {
    const wallOffsetMs = nowMs - this.#clock.monotonicMs();
    const stepMs = wallOffsetMs - this.#wallOffsetMs;
    this.#wallOffsetMs = wallOffsetMs;
    if (Math.abs(stepMs) < MIN_CLOCK_STEP_MS) return;
    this.#options.log.warn({ stepMs: Math.round(stepMs) }, 'wall clock jumped');
    for (const item of this.#items.values()) this.#applyClockStep(item, nowMs, stepMs);
    this.#rebuildSchedule();
  }

  #applyClockStep(item: Item, nowMs: number, stepMs: number): void {
    if (item.waiting !== undefined) item.waiting = { ...item.waiting, dueMs: item.waiting.dueMs + stepMs };
    if (stepMs < 0 && item.lastStartMs !== undefined) item.lastStartMs += stepMs;
    const { next } = item;
    if (next === undefined) return;
    if (next.trigger !== 'schedule') item.next = { ...next, dueMs: next.dueMs + stepMs };
    else if (stepMs < 0) this.#replanAfterStepBack(item, nowMs);
    else if (next.dueMs <= nowMs)
      this.#handleMissedRuns(item, missedRunsSince(item.entry, next.dueMs - 1, item.timetable(nowMs), nowMs));
  }

  /** Plans the next start 0.5 to 1.5 periods after the last start. */
  #replanAfterStepBack(item: Item, nowMs: number): void {
    const { lastStartMs = -Infinity, timetable } = item;
    const { latestMs, nextMs } = timetable(nowMs);
    // A record written by a machine with a different clock may be in the future.
    const earliestMs = Math.min(lastStartMs, nowMs) + (nextMs - latestMs) / 2;
    if (lastStartMs !== -Infinity && latestMs >= earliestMs) this.#plan(item, 'catch-up');
    else this.#push({ item, dueMs: timetable(Math.max(nowMs, earliestMs)).nextMs, trigger: 'schedule' });
  }

  #handleMissedRuns(item: Item, { missed, shouldCatchUp }: MissedRuns): void {
    if (missed > 0) this.#metrics?.missed(missed);
    this.#plan(item, shouldCatchUp ? 'catch-up' : 'schedule');
  }

  async #sleepUntilNext(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const nowMs = this.#clock.now();
    const sleepMs = Math.min(MAX_SLEEP_MS, Math.max(0, (this.#schedule.peek()?.dueMs ?? Infinity) - nowMs));
    const abort = new AbortController();
    this.#sleep = { untilMs: nowMs + sleepMs, abort };
    await this.#clock.sleep(sleepMs, abort.signal).catch(() => undefined);
    this.#sleep = undefined;
  }

  /** Requests a run, which starts when a slot is free. */
  #request(item: Item, { dueMs, trigger }: PlannedRun): void {
    if (item.waiting !== undefined) {
      if (trigger === 'run-now') item.waiting = { ...item.waiting, trigger };
      else this.#metrics?.coalesced();
      return;
    }
    if (!this.#running.has(item.entry.key)) {
      item.waiting = { dueMs, trigger };
      this.#slots.add(item.entry.group, item);
      return;
    }
    if (trigger === 'schedule') this.#metrics?.coalesced();
    else if (item.rerunTrigger !== 'run-now') item.rerunTrigger = trigger;
  }

  #dropWaiting(item: Item): void {
    if (item.waiting === undefined) return;
    item.waiting = undefined;
    this.#slots.drop(item.entry.group, item);
    this.#metrics?.waiting(this.#slots.waiting);
  }

  #startWaiting(): void {
    if (this.#isOpen) {
      for (let item = this.#slots.take(); item !== undefined; item = this.#slots.take()) this.#start(item);
    }
    this.#metrics?.inFlight(this.#slots.taken);
    this.#metrics?.waiting(this.#slots.waiting);
  }

  #start(item: Item): void {
    const { waiting, entry } = item;
    if (waiting === undefined) throw new Error('a slot was given to an item that is not waiting');
    item.waiting = undefined;
    const nowMs = this.#clock.now();
    item.lastStartMs = nowMs;
    const startLagMs = Math.max(0, nowMs - waiting.dueMs);
    this.#metrics?.started(waiting.trigger, startLagMs);
    const running: Running = { abort: new AbortController(), finished: Promise.resolve() };
    this.#running.set(entry.key, running);
    running.finished = this.#execute(
      { key: entry.key, ...waiting, startLagMs },
      entry.group,
      running.abort.signal,
    );
  }

  async #execute(run: DueRun, group: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#options.start(run, signal);
    } catch (error) {
      const message = oneLine(error instanceof Error ? error.message : String(error));
      this.#options.log.warn({ key: run.key, error: message }, 'run ended with an unexpected error');
    }
    this.#running.delete(run.key);
    this.#slots.release(group);
    this.#rerun(run.key);
    this.#startWaiting();
  }

  #rerun(key: string): void {
    const item = this.#items.get(key);
    if (item?.rerunTrigger === undefined) return;
    const trigger = item.rerunTrigger;
    item.rerunTrigger = undefined;
    this.#request(item, { dueMs: this.#clock.now(), trigger });
  }

  async #drain(): Promise<void> {
    using deadline = this.#clock.deadline(this.#options.drainMs ?? 0);
    deadline.signal.addEventListener('abort', () => {
      for (const { abort } of this.#running.values()) abort.abort();
    });
    await Promise.all([...this.#running.values()].map(({ finished }) => finished));
  }
}

function newHeap(): TinyQueue<ScheduledRun> {
  return new TinyQueue<ScheduledRun>([], (a, b) => a.dueMs - b.dueMs);
}

/** Wall time up to which due times count as served by this run. */
function coveredUntilMs({ dueMs, trigger }: PlannedRun, schedule: SchedulePlan): number {
  if (trigger === 'schedule' || !('intervalMs' in schedule)) return dueMs;
  return dueMs + schedule.intervalMs / 2;
}

function startsAtOnce({ schedule, startsAtOnce: isRequested }: ScheduleEntry): boolean {
  return isRequested === true && 'intervalMs' in schedule;
}

function isEqual(a: SchedulePlan, b: SchedulePlan): boolean {
  if ('intervalMs' in a) return 'intervalMs' in b && a.intervalMs === b.intervalMs;
  return 'cron' in b && a.cron === b.cron && a.timeZone === b.timeZone;
}
