import { z } from 'zod';
import { Condition, MAX_CONDITIONS } from './conditions.ts';
import { listMapBy, plainText, unwrap } from './field.ts';
import { MAX_MESSAGE_LENGTH } from './reasons.ts';
import type { RunResult } from './run.ts';
import { MAX_TARGETS } from './storage-probe.ts';

/** Maximum number of recent runs of a target in the status. */
export const MAX_RECENT_RUNS = 10;

const MAX_RUN_REQUEST_LENGTH = 64;

/** Annotation that requests an immediate run when its value changes. */
export const RUN_REQUEST_ANNOTATION = 'storageprobe.dev/run-requested-at';

const time = z.iso.datetime({ offset: true });
const verdict = z.enum(['Passed', 'Failed', 'Unknown']).meta({
  description:
    'Passed, Failed or Unknown. Unknown means that the run could not determine whether the store works; it never counts against the target.',
});
/** Not an enum, because another version of the operator may have more reasons. */
const reason = plainText({
  description: 'Reason for a verdict other than Passed: one word from the list in docs/reference/reasons.md.',
  maxLength: 64,
});

/** A run as shown in the status. */
export const RunSummary = z.object({
  id: plainText({ description: 'ID of the run, as in its log line.', maxLength: 64 }),
  traceId: plainText({ description: 'Trace ID of the run.', maxLength: 64 }),
  startTime: time.meta({ description: 'Start time of the run.' }),
  duration: plainText({ description: 'Duration of the run, for example 23.4ms.', maxLength: 32 }),
  verdict,
  reason: reason.optional(),
  failedStep: plainText({
    description: 'The failed step, identified by its `function.name` in the trace.',
    maxLength: 64,
  }).optional(),
  message: plainText({
    description: 'One-line description of the result.',
    maxLength: MAX_MESSAGE_LENGTH,
  }).optional(),
});
export type RunSummary = z.output<typeof RunSummary>;

export const TargetStatus = z.object({
  name: plainText({ description: 'Name of the target.', maxLength: 63 }),
  verdict: verdict.optional(),
  reason: reason.optional(),
  consecutiveFailures: z
    .int32()
    .min(0)
    .meta({ description: 'Number of failed runs since the last run that passed.' }),
  lastSuccessTime: time.meta({ description: 'Start time of the last run that passed.' }).optional(),
  lastRun: RunSummary.meta({ description: 'Most recent run of the target.' }).optional(),
  recentRuns: z
    .array(RunSummary)
    .max(MAX_RECENT_RUNS)
    .meta({ description: 'Most recent runs, newest first.' })
    .optional(),
});
export type TargetStatus = z.output<typeof TargetStatus>;

/** What the controller reports about a probe. Contains all state that the controller needs after a restart. */
export const ProbeStatus = z.object({
  observedGeneration: z
    .int()
    .min(0)
    .meta({ description: 'The `metadata.generation` that this status is based on.' })
    .optional(),
  conditions: z
    .array(Condition)
    .max(MAX_CONDITIONS)
    .meta({
      description: 'Ready: the operator can run the probe. Healthy: the targets pass.',
      ...listMapBy('type'),
    })
    .optional(),
  schedule: plainText({
    description: 'The schedule as text, for example 30s.',
    maxLength: 200,
  }).optional(),
  nextRunTime: time.meta({ description: 'Start time of the next run.' }).optional(),
  lastRun: RunSummary.extend({
    target: plainText({ description: 'Name of the target of this run.', maxLength: 63 }),
  })
    .meta({
      description:
        'Last run of the first unhealthy target. If all targets are healthy, the most recent run of any target.',
    })
    .optional(),
  lastRunRequest: plainText({
    description: `Last value of the annotation ${RUN_REQUEST_ANNOTATION} that the controller acted on.`,
    maxLength: MAX_RUN_REQUEST_LENGTH,
  }).optional(),
  targets: z
    .array(TargetStatus)
    .max(MAX_TARGETS)
    .meta({ description: 'Status of each target.', ...listMapBy('name') })
    .optional(),
});
export type ProbeStatus = z.output<typeof ProbeStatus>;

/** Value of the run request annotation, cut to the length that {@link ProbeStatus} allows. */
export function runRequestOf(annotations: Readonly<Record<string, string>> = {}): string | undefined {
  const value = annotations[RUN_REQUEST_ANNOTATION];
  return value === undefined ? undefined : cut(value, MAX_RUN_REQUEST_LENGTH);
}

export function summarizeRun(result: RunResult): RunSummary {
  const { runId, traceId, startTime, durationMs, verdict: found, reason: why, failedStep, message } = result;
  return {
    id: runId,
    traceId,
    startTime,
    duration: formatLatency(durationMs),
    verdict: found,
    ...(why === undefined ? {} : { reason: why }),
    ...(failedStep === undefined ? {} : { failedStep }),
    ...(message === undefined ? {} : { message: cut(message, MAX_MESSAGE_LENGTH) }),
  };
}

/** One decimal below a second, two above: `23.4ms`, `1.52s`. */
function formatLatency(ms: number): string {
  return ms < 999.95 ? `${Math.round(ms * 10) / 10}ms` : `${Math.round(ms / 10) / 100}s`;
}

function cut(text: string, maxLength: number): string {
  return text.slice(0, maxLength).toWellFormed(); // half of a surrogate pair would not survive JSON
}

/**
 * Reads a status that another version may have written. Drops fields that do not parse, and maps that then lack a
 * required field. Cuts lists to their maximum length. Returns `undefined` if the status is not a map.
 */
export function readStatus(status: unknown): ProbeStatus | undefined {
  return readLeniently(ProbeStatus, status) as ProbeStatus | undefined;
}

function readLeniently(schema: z.core.$ZodType, value: unknown): unknown {
  if (schema instanceof z.ZodArray) return readList(schema, value);
  if (schema instanceof z.ZodObject) return readMap(schema, value);
  return z.safeParse(schema, value).data;
}

function readList(list: z.ZodArray, value: unknown): unknown {
  if (!Array.isArray(value)) return undefined;
  const read = value.map((item) => readLeniently(list.element, item)).filter((item) => item !== undefined);
  while (read.length > 0 && !list.safeParse(read).success) read.pop(); // every item is valid, so the list is too long
  return read;
}

function readMap({ shape }: z.ZodObject, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const read: Record<string, unknown> = {};
  for (const [name, member] of Object.entries<z.core.$ZodType>(shape)) {
    const found = readLeniently(unwrap(member), Reflect.get(value, name));
    if (found !== undefined) read[name] = found;
    else if (!(member instanceof z.ZodOptional)) return undefined;
  }
  return read;
}
