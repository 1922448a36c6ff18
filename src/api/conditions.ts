import { z } from 'zod';
import { plainText } from './field.ts';

/** What the conditions of a StorageProbe tell. */
export const CONDITION_TYPES = {
  Ready: 'Whether the operator can run the probe as it is written.',
  Healthy: 'Whether the targets do what their users need of them.',
} as const;
export type ConditionType = keyof typeof CONDITION_TYPES;

export type ConditionStatus = 'True' | 'False' | 'Unknown';

export interface ConditionReasonInfo {
  /** Which conditions may have it, and as what. */
  readonly conditions: readonly `${ConditionType}=${ConditionStatus}`[];
  /** When it applies, as one sentence. */
  readonly means: string;
}

/**
 * The closed list of reasons of conditions, besides the `REASONS` of runs: where the targets at fault agree on one of
 * those, the condition has it. `docs/reference/reasons.md` is generated from both.
 */
export const CONDITION_REASONS = {
  Scheduled: {
    conditions: ['Ready=True'],
    means: 'The next run starts at `nextRunTime`.',
  },
  Suspended: {
    conditions: ['Ready=True', 'Healthy=Unknown'],
    means: 'No runs start, for so `suspend` asks.',
  },
  NeverDue: {
    conditions: ['Ready=False'],
    means: 'No time to come matches `cron`.',
  },
  InvalidSpec: {
    conditions: ['Ready=False', 'Healthy=Unknown'],
    means:
      'The operator cannot work with the spec, though the API server admitted it: the installed CustomResourceDefinition is that of another version.',
  },
  NotYetRun: {
    conditions: ['Healthy=Unknown'],
    means: 'No run has ended yet.',
  },
  Passed: {
    conditions: ['Healthy=True'],
    means: 'No target has failed `failureThreshold` runs in a row.',
  },
  SeveralReasons: {
    conditions: ['Ready=False', 'Healthy=False', 'Healthy=Unknown'],
    means: 'Several targets are at fault, not all for the same reason; the message names them.',
  },
} as const satisfies Record<string, ConditionReasonInfo>;

/** Most conditions that a status holds. */
export const MAX_CONDITIONS = 8;

/** Longest message that is written, far below what Kubernetes allows: 64 targets may have something to say. */
const MAX_MESSAGE_LENGTH = 1_024;

/** `metav1.Condition`, with the bounds that Kubernetes gives it. */
export const Condition = z.object({
  type: plainText({
    description: 'What the condition tells: Ready or Healthy.',
    maxLength: 316,
    pattern:
      /^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$/,
  }),
  status: z.enum(['True', 'False', 'Unknown']).meta({ description: 'Whether it is so.' }),
  reason: plainText({
    description: 'Why, in one word of a closed list: docs/reference/reasons.md.',
    maxLength: 1_024,
    pattern: /^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/,
  }),
  message: plainText({ description: 'Why, for people.', maxLength: 32_768 }),
  lastTransitionTime: z.iso.datetime({ offset: true }).meta({ description: 'When `status` last changed.' }),
  observedGeneration: z
    .int()
    .min(0)
    .meta({ description: 'The `metadata.generation` that it tells of.' })
    .optional(),
});
export type Condition = z.output<typeof Condition>;

/** What is found now, without the times. */
export interface Finding {
  readonly type: ConditionType;
  readonly status: ConditionStatus;
  /** A key of `REASONS` or of {@link CONDITION_REASONS}. */
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
}

/**
 * The conditions with the finding in its place, its message cut to 1,024 characters. `lastTransitionTime` moves, to
 * `now`, only where `status` changes.
 */
export function setCondition(
  conditions: readonly Condition[],
  found: Finding,
  /** ISO 8601. */
  now: string,
): Condition[] {
  const before = conditions.find(({ type }) => type === found.type);
  const lastTransitionTime = before?.status === found.status ? before.lastTransitionTime : now;
  const message = found.message.slice(0, MAX_MESSAGE_LENGTH).toWellFormed();
  const after = { ...found, message, lastTransitionTime };
  if (before === undefined) return [...conditions, after];
  return conditions.map((condition) => (condition === before ? after : condition));
}
