import { z } from 'zod';
import { Condition, MAX_CONDITIONS } from './conditions.ts';
import { listMapBy, plainText, unwrap } from './field.ts';
import { MAX_MESSAGE_LENGTH } from './reasons.ts';
import type { RunResult } from './run.ts';
import { MAX_TARGETS } from './storage-probe.ts';

/** Most runs that the status remembers of a target. */
export const MAX_RECENT_RUNS = 10;

const MAX_RUN_REQUEST_LENGTH = 64;

/** Its value, when changed, asks for a run now. */
export const RUN_REQUEST_ANNOTATION = 'storageprobe.dev/run-requested-at';

const time = z.iso.datetime({ offset: true });
const verdict = z.enum(['Passed', 'Failed', 'Unknown']).meta({
  description:
    'Passed, Failed, or Unknown: the prober itself could not tell, which never counts against the target.',
});
/** Text, for another version of the operator may know more reasons. */
const reason = plainText({
  description: 'Why not Passed, in one word of a closed list (docs/reference/reasons.md).',
  maxLength: 64,
});

/** A run as the status tells it. */
export const RunSummary = z.object({
  id: plainText({ description: 'Id of the run, as in its log line.', maxLength: 64 }),
  traceId: plainText({ description: 'Id of its trace.', maxLength: 64 }),
  startTime: time.meta({ description: 'When it started.' }),
  duration: plainText({ description: 'How long it took, for example 23.4ms.', maxLength: 32 }),
  verdict,
  reason: reason.optional(),
  failedStep: plainText({
    description: 'The step that failed, by its function.name in the trace.',
    maxLength: 64,
  }).optional(),
  message: plainText({
    description: 'What happened, in one line.',
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
    .meta({ description: 'How many runs failed since the last one that passed.' }),
  lastSuccessTime: time.meta({ description: 'When the last run that passed started.' }).optional(),
  lastRun: RunSummary.meta({ description: 'The last run.' }).optional(),
  recentRuns: z
    .array(RunSummary)
    .max(MAX_RECENT_RUNS)
    .meta({ description: 'The last runs, newest first.' })
    .optional(),
});
export type TargetStatus = z.output<typeof TargetStatus>;

/** What the controller tells of a probe, and all that it must still know after a restart. */
export const ProbeStatus = z.object({
  observedGeneration: z
    .int()
    .min(0)
    .meta({ description: 'The `metadata.generation` that the controller has taken up.' })
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
    description: 'The schedule in one text, for example 30s.',
    maxLength: 200,
  }).optional(),
  nextRunTime: time.meta({ description: 'When the next run starts.' }).optional(),
  lastRun: RunSummary.extend({
    target: plainText({ description: 'Name of the target that it visited.', maxLength: 63 }),
  })
    .meta({ description: 'The last run, of all targets.' })
    .optional(),
  lastRunRequest: plainText({
    description: `The last value of the annotation ${RUN_REQUEST_ANNOTATION} that was answered by runs.`,
    maxLength: MAX_RUN_REQUEST_LENGTH,
  }).optional(),
  targets: z
    .array(TargetStatus)
    .max(MAX_TARGETS)
    .meta({ description: 'Each target as its runs found it.', ...listMapBy('name') })
    .optional(),
});
export type ProbeStatus = z.output<typeof ProbeStatus>;

/** The run request among annotations, cut to what {@link ProbeStatus} can remember of it. */
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

/** To three or four digits: `23.4ms`, `1.52s`. */
function formatLatency(ms: number): string {
  return ms < 999.95 ? `${Math.round(ms * 10) / 10}ms` : `${Math.round(ms / 10) / 100}s`;
}

function cut(text: string, maxLength: number): string {
  return text.slice(0, maxLength).toWellFormed(); // half a character would not survive JSON
}

/**
 * What can be read of a status, which another version may have written: a member that does not parse is left out, and
 * with it what makes no sense without it; lists are cut to their bounds. `undefined` if it is no map.
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
  while (read.length > 0 && !list.safeParse(read).success) read.pop(); // each item is right: there are too many
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
