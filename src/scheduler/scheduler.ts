import { oneLine } from '../api/one-line.ts';
import type { SchedulePlan } from '../api/plan.ts';
import type { Clock } from '../clock/clock.ts';
import { Heap } from '../heap/heap.ts';
import { duesPassed, type MissedRuns, missedRuns, runsPassed } from './missed-runs.ts';
import { type Timetable, timetable } from './next-due.ts';
import { Pace } from './pace.ts';
import { Slots } from './slots.ts';
import type { DueRun, ScheduleEntry, SchedulerMetrics, Trigger } from './types.ts';

export interface SchedulerLog {
  warn(fields: object, message: string): void;
}

export interface SchedulerOptions {
  readonly clock: Clock;
  readonly log: SchedulerLog;
  /**
   * Makes a run. It resolves when the run has ended, and soon after the signal aborts; a rejection is logged and changes
   * nothing else.
   */
  readonly start: (run: DueRun, signal: AbortSignal) => Promise<void>;
  /** Runs under way at once, at least 1. One group alone gets three quarters of them: see {@link Slots}. */
  readonly maxInFlight: number;
  /** How long runs may go on once the scheduler stops, before their signals abort. Default 0. */
  readonly drainMs?: number;
  /**
   * How fast runs start at once or catch up, so that 1,000 new probes do not come all at the same time. What cannot
   * start before its next due time waits for that. Default: 20 at once, then 10 per second.
   */
  readonly startPace?: { readonly burst: number; readonly perSecond: number };
  readonly metrics?: SchedulerMetrics;
}

interface PlannedRun {
  readonly dueMs: number;
  readonly trigger: Trigger;
}

interface Tick extends PlannedRun {
  readonly item: Item;
}

interface Item {
  entry: ScheduleEntry;
  around: Timetable;
  lastStartMs: number | undefined;
  /** What comes next. Others of this item in the heap are out of date. */
  tick: Tick | undefined;
  /** Waits for a slot. */
  waiting: PlannedRun | undefined;
  /** To start anew as soon as the run under way has ended. */
  again: Trigger | undefined;
}

interface Running {
  readonly abort: AbortController;
  ended: Promise<void>;
}

/** Notices a step of the wall clock, and shows that it lives, at least this often. */
const MAX_SLEEP_MS = 5_000;
/** A clock that is merely slewed moves by less from one look to the next. Source: adjtimex(2), 500 ppm. */
const MIN_CLOCK_STEP_MS = 1_000;
const MAX_TIMETABLES = 1_000;
const DEFAULT_START_PACE = { burst: 20, perSecond: 10 };

/**
 * Starts runs when they are due, and never two of one key at once: a run that falls due while the one before it is
 * under way, or waits for a slot, is made by that one.
 *
 * An interval's run that starts off its due times, at once or to catch up, stands in for a due time within half a period
 * after it.
 *
 * Time is the wall clock's. When that steps forward, what it stepped over is one missed run per entry, to catch up on.
 * When it steps back, no due time is run again, and nobody waits for the clock to come back to where it was: the next
 * start is half to one and a half periods after the last.
 */
export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #clock: Clock;
  readonly #metrics: SchedulerMetrics | undefined;
  readonly #pace: Pace;
  readonly #slots: Slots<Item>;
  readonly #items = new Map<string, Item>();
  /** By key, also of entries that were removed: their runs may take a while to end. */
  readonly #running = new Map<string, Running>();
  /** Entries with the same cron share one, and so its last answer. */
  readonly #cronTimetables = new Map<string, Timetable>();
  #ticks = newHeap();
  #isOpen = false;
  #startedUntilMs: number | undefined;
  /** Wall time less monotonic time, when last looked at. */
  #wallOffsetMs: number;
  #lastProgressMs: number;
  #sleep: { readonly untilMs: number; readonly abort: AbortController } | undefined;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#metrics = options.metrics;
    this.#pace = new Pace(options.startPace ?? DEFAULT_START_PACE);
    this.#slots = new Slots(options.maxInFlight);
    this.#wallOffsetMs = this.#clock.now() - this.#clock.monotonicMs();
    this.#lastProgressMs = this.#clock.monotonicMs();
  }

  /** Monotonic time at which it last looked for what is due: never long ago, while {@link run} is under way. */
  get lastProgressMs(): number {
    return this.#lastProgressMs;
  }

  /**
   * Wall time at which the entry's next run is due: in the past while that waits for its start, not while it is under
   * way. Undefined of an entry that is suspended, never due or not there.
   */
  nextDueMs(key: string): number | undefined {
    const { tick, waiting } = this.#items.get(key) ?? {};
    // Without a tick, what waits was asked for by hand.
    return tick === undefined ? undefined : (waiting ?? tick).dueMs;
  }

  /**
   * Adds or changes an entry. One whose schedule is as before keeps what is planned.
   *
   * @throws for a cron expression or time zone that the API's schema would have refused.
   */
  set(entry: ScheduleEntry): void {
    const item = this.#items.get(entry.key);
    if (item === undefined) this.#add(entry);
    else this.#change(item, entry);
  }

  /** Takes an entry away and aborts its run. Resolves when that has ended. */
  async remove(key: string): Promise<void> {
    const item = this.#items.get(key);
    if (item !== undefined) {
      this.#items.delete(key);
      item.tick = undefined;
      this.#dropWaiting(item);
      this.#metrics?.entries(this.#items.size);
    }
    const running = this.#running.get(key);
    running?.abort.abort();
    await running?.ended;
  }

  /**
   * Starts a run as soon as there is a slot, also of a suspended entry; after the one under way, if there is one. Knows
   * nothing of a key that is not there.
   */
  runNow(key: string): void {
    const item = this.#items.get(key);
    if (item === undefined) return;
    this.#request(item, { dueMs: this.#clock.now(), trigger: 'run-now' });
    this.#startWaiting();
  }

  /**
   * Starts what is due until the signal aborts, and then nothing more. Resolves when the runs under way have ended. To
   * be called once.
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

  /** Wall time up to which every due time has led to a start, and after which none has; known once {@link run} ends. */
  get startedUntilMs(): number | undefined {
    return this.#startedUntilMs;
  }

  #firstUnstartedMs(): number {
    let firstMs = Infinity;
    for (const { tick, waiting } of this.#items.values()) {
      firstMs = Math.min(firstMs, tick?.dueMs ?? Infinity, waiting?.dueMs ?? Infinity);
    }
    return firstMs;
  }

  #add(entry: ScheduleEntry): void {
    const item: Item = {
      entry,
      around: this.#timetable(entry),
      lastStartMs: entry.lastStartMs,
      tick: undefined,
      waiting: undefined,
      again: undefined,
    };
    this.#items.set(entry.key, item);
    this.#metrics?.entries(this.#items.size);
    if (entry.suspended === true) return;
    if (startsAtOnce(entry)) this.#plan(item, 'at-once');
    else this.#makeUp(item, missedRuns(entry, item.around, this.#clock.now()));
  }

  #change(item: Item, entry: ScheduleEntry): void {
    const before = item.entry;
    const isSameSchedule = before.seed === entry.seed && isEqual(before.schedule, entry.schedule);
    if (!isSameSchedule) item.around = this.#timetable(entry);
    item.entry = entry;
    if (entry.suspended === true) this.#suspend(item);
    else if (startsAtOnce(entry)) this.#plan(item, 'at-once');
    else if (!isSameSchedule || before.suspended === true) this.#plan(item, 'schedule');
  }

  #suspend(item: Item): void {
    item.tick = undefined;
    if (item.again !== 'run-now') item.again = undefined;
    if (item.waiting?.trigger !== 'run-now') this.#dropWaiting(item);
  }

  #timetable({ schedule, seed }: ScheduleEntry): Timetable {
    if ('intervalMs' in schedule) return timetable(schedule, seed);
    const name = `${schedule.cron} ${schedule.timeZone}`;
    let known = this.#cronTimetables.get(name);
    if (known === undefined) {
      if (this.#cronTimetables.size >= MAX_TIMETABLES) this.#cronTimetables.clear();
      known = timetable(schedule, seed);
      this.#cronTimetables.set(name, known);
    }
    return known;
  }

  /** Plans the next start: at the next due time, or before it if the trigger and the pace of starts say so. */
  #plan(item: Item, trigger: Trigger): void {
    const nowMs = this.#clock.now();
    const { nextMs } = item.around(nowMs);
    if (trigger !== 'schedule') {
      const delayMs = this.#pace.take(this.#clock.monotonicMs(), nextMs - nowMs);
      if (delayMs !== undefined) {
        this.#push({ item, dueMs: nowMs + delayMs, trigger });
        return;
      }
    }
    this.#push({ item, dueMs: nextMs, trigger: 'schedule' });
  }

  #push(tick: Tick): void {
    tick.item.tick = undefined;
    if (tick.dueMs === Infinity) return;
    tick.item.tick = tick;
    this.#ticks.push(tick);
    if (this.#ticks.size > 2 * this.#items.size + 100) this.#rebuildTicks();
    if (this.#sleep !== undefined && tick.dueMs < this.#sleep.untilMs) this.#sleep.abort.abort();
  }

  #rebuildTicks(): void {
    this.#ticks = newHeap();
    for (const { tick } of this.#items.values()) {
      if (tick !== undefined) this.#ticks.push(tick);
    }
  }

  #startDue(): void {
    this.#lastProgressMs = this.#clock.monotonicMs();
    const nowMs = this.#clock.now();
    this.#followClock(nowMs);
    for (
      let tick = this.#ticks.peek();
      tick !== undefined && tick.dueMs <= nowMs;
      tick = this.#ticks.peek()
    ) {
      this.#ticks.pop();
      if (tick.item.tick === tick) this.#onTick(tick, nowMs);
    }
    this.#startWaiting();
  }

  #onTick(tick: Tick, nowMs: number): void {
    const { item, dueMs } = tick;
    this.#request(item, tick);
    let { nextMs } = item.around(coveredUntilMs(tick, item.entry.schedule));
    if (nextMs <= nowMs) {
      const dues = item.around(nowMs);
      this.#metrics?.missed(duesPassed(dueMs, dues));
      ({ nextMs } = dues);
    }
    this.#push({ item, dueMs: nextMs, trigger: 'schedule' });
  }

  #followClock(nowMs: number): void {
    const wallOffsetMs = nowMs - this.#clock.monotonicMs();
    const stepMs = wallOffsetMs - this.#wallOffsetMs;
    this.#wallOffsetMs = wallOffsetMs;
    if (Math.abs(stepMs) < MIN_CLOCK_STEP_MS) return;
    this.#options.log.warn({ stepMs: Math.round(stepMs) }, 'the wall clock was set');
    for (const item of this.#items.values()) this.#afterClockStep(item, nowMs, stepMs);
    this.#rebuildTicks();
  }

  #afterClockStep(item: Item, nowMs: number, stepMs: number): void {
    if (item.waiting !== undefined) item.waiting = { ...item.waiting, dueMs: item.waiting.dueMs + stepMs };
    if (stepMs < 0 && item.lastStartMs !== undefined) item.lastStartMs += stepMs;
    const { tick } = item;
    if (tick === undefined) return;
    if (tick.trigger !== 'schedule') item.tick = { ...tick, dueMs: tick.dueMs + stepMs };
    else if (stepMs < 0) this.#replan(item, nowMs);
    else if (tick.dueMs <= nowMs)
      this.#makeUp(item, runsPassed(item.entry, tick.dueMs - 1, item.around(nowMs), nowMs));
  }

  /** After a step back: at least half a period after the last start, and at most one period later. */
  #replan(item: Item, nowMs: number): void {
    const { lastStartMs = -Infinity, around } = item;
    const { latestMs, nextMs } = around(nowMs);
    // A record from another clock may lie in the future.
    const soonestMs = Math.min(lastStartMs, nowMs) + (nextMs - latestMs) / 2;
    if (lastStartMs !== -Infinity && latestMs >= soonestMs) this.#plan(item, 'catch-up');
    else this.#push({ item, dueMs: around(Math.max(nowMs, soonestMs)).nextMs, trigger: 'schedule' });
  }

  #makeUp(item: Item, { missed, catchUp }: MissedRuns): void {
    if (missed > 0) this.#metrics?.missed(missed);
    this.#plan(item, catchUp ? 'catch-up' : 'schedule');
  }

  async #sleepUntilNext(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const nowMs = this.#clock.now();
    const sleepMs = Math.min(MAX_SLEEP_MS, Math.max(0, (this.#ticks.peek()?.dueMs ?? Infinity) - nowMs));
    const abort = new AbortController();
    this.#sleep = { untilMs: nowMs + sleepMs, abort };
    await this.#clock.sleep(sleepMs, abort.signal).catch(() => undefined);
    this.#sleep = undefined;
  }

  /** Asks for a run; it starts when a slot is free. */
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
    else if (item.again !== 'run-now') item.again = trigger;
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
    if (waiting === undefined) throw new Error('only what waits is given a slot');
    item.waiting = undefined;
    const nowMs = this.#clock.now();
    item.lastStartMs = nowMs;
    const startLagMs = Math.max(0, nowMs - waiting.dueMs);
    this.#metrics?.started(waiting.trigger, startLagMs);
    const running: Running = { abort: new AbortController(), ended: Promise.resolve() };
    this.#running.set(entry.key, running);
    running.ended = this.#make({ key: entry.key, ...waiting, startLagMs }, entry.group, running.abort.signal);
  }

  async #make(run: DueRun, group: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#options.start(run, signal);
    } catch (error) {
      const message = oneLine(error instanceof Error ? error.message : String(error));
      this.#options.log.warn({ key: run.key, error: message }, 'a run ended by an error');
    }
    this.#running.delete(run.key);
    this.#slots.release(group);
    this.#runAgain(run.key);
    this.#startWaiting();
  }

  #runAgain(key: string): void {
    const item = this.#items.get(key);
    if (item?.again === undefined) return;
    const trigger = item.again;
    item.again = undefined;
    this.#request(item, { dueMs: this.#clock.now(), trigger });
  }

  async #drain(): Promise<void> {
    using deadline = this.#clock.deadline(this.#options.drainMs ?? 0);
    deadline.signal.addEventListener('abort', () => {
      for (const { abort } of this.#running.values()) abort.abort();
    });
    await Promise.all([...this.#running.values()].map(({ ended }) => ended));
  }
}

function newHeap(): Heap<Tick> {
  return new Heap<Tick>((a, b) => a.dueMs < b.dueMs);
}

/** Due times up to then are not due any more once this run is. */
function coveredUntilMs({ dueMs, trigger }: PlannedRun, schedule: SchedulePlan): number {
  if (trigger === 'schedule' || !('intervalMs' in schedule)) return dueMs;
  return dueMs + schedule.intervalMs / 2;
}

function startsAtOnce({ schedule, startsAtOnce: asked }: ScheduleEntry): boolean {
  return asked === true && 'intervalMs' in schedule;
}

function isEqual(a: SchedulePlan, b: SchedulePlan): boolean {
  if ('intervalMs' in a) return 'intervalMs' in b && a.intervalMs === b.intervalMs;
  return 'cron' in b && a.cron === b.cron && a.timeZone === b.timeZone;
}
