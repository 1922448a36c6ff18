import { z } from 'zod';
import { plainText } from './field.ts';

/** Condition types of a StorageProbe, and their meaning. */
export const CONDITION_TYPES = {
  Ready: 'True if the operator can run the probe as specified.',
  Healthy: 'True if no target has failed `failureThreshold` runs in a row.',
} as const;
export type ConditionType = keyof typeof CONDITION_TYPES;

export type ConditionStatus = 'True' | 'False' | 'Unknown';

export interface ConditionReasonInfo {
  /** Conditions that can have this reason, with the status that they then have. */
  readonly conditions: readonly `${ConditionType}=${ConditionStatus}`[];
  /** When the reason applies, in one sentence. */
  readonly means: string;
}

/**
 * Reasons used only in conditions. If all affected targets have the same reason from `REASONS`, the condition has that
 * reason instead. `docs/reference/reasons.md` is generated from both tables.
 */
export const CONDITION_REASONS = {
  Scheduled: {
    conditions: ['Ready=True'],
    means: 'The next run starts at `nextRunTime`.',
  },
  Suspended: {
    conditions: ['Ready=True', 'Healthy=Unknown'],
    means: 'No runs start because `spec.suspend` is true.',
  },
  NeverDue: {
    conditions: ['Ready=False'],
    means: 'No future time matches `cron`.',
  },
  InvalidSpec: {
    conditions: ['Ready=False', 'Healthy=Unknown'],
    means:
      'The operator cannot use the spec although the API server admitted it: the installed CustomResourceDefinition is from a different version.',
  },
  NotYetRun: {
    conditions: ['Healthy=Unknown'],
    means: 'No run has finished yet.',
  },
  Passed: {
    conditions: ['Healthy=True'],
    means: 'No target has failed `failureThreshold` runs in a row.',
  },
  SeveralReasons: {
    conditions: ['Ready=False', 'Healthy=False', 'Healthy=Unknown'],
    means: 'Several targets are affected for different reasons; the message lists the targets.',
  },
} as const satisfies Record<string, ConditionReasonInfo>;

/** Maximum number of conditions in a status. */
export const MAX_CONDITIONS = 8;

/**
 * Maximum length of a condition message that the operator writes. Kubernetes allows 32,768, which a probe with 64
 * targets could fill.
 */
const MAX_MESSAGE_LENGTH = 1_024;

/** `metav1.Condition` with the limits of Kubernetes. */
export const Condition = z.object({
  type: plainText({
    description: 'Type of the condition: Ready or Healthy.',
    maxLength: 316,
    pattern:
      /^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$/,
  }),
  status: z
    .enum(['True', 'False', 'Unknown'])
    .meta({ description: 'Status of the condition: True, False or Unknown.' }),
  reason: plainText({
    description: 'Reason for the status: one word from the list in docs/reference/reasons.md.',
    maxLength: 1_024,
    pattern: /^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/,
  }),
  message: plainText({ description: 'Human-readable explanation of the status.', maxLength: 32_768 }),
  lastTransitionTime: z.iso
    .datetime({ offset: true })
    .meta({ description: 'Time when `status` last changed.' }),
  observedGeneration: z
    .int()
    .min(0)
    .meta({ description: 'The `metadata.generation` that the condition is based on.' })
    .optional(),
});
export type Condition = z.output<typeof Condition>;

/** Current state of a condition, without its transition time. */
export interface Finding {
  readonly type: ConditionType;
  readonly status: ConditionStatus;
  /** A key of `REASONS` or of {@link CONDITION_REASONS}. */
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
}

/**
 * Returns the conditions with the finding added or updated, and its message cut to 1,024 characters.
 * `lastTransitionTime` is set to `now` only if `status` changes.
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
