import { z } from 'zod';
import type { Path } from './problem.ts';

/** What a problem's line and the reference page say of a field, beyond what its schema says by itself. */
export interface FieldInfo {
  /** What a reader may write, with an example. */
  readonly accepted: string;
  /** Completes "is not …". */
  readonly is?: string;
  /** Why the text is refused, as words that follow it; asked also for what the schema's pattern lets pass. */
  readonly fault?: (text: string) => string | undefined;
  /**
   * What the API server asks of `self` besides the pattern, in CEL: equal to `fault` for all that the pattern lets pass.
   */
  readonly cel?: string;
  /** How a bare number should have been written. */
  readonly fromNumber?: (value: number) => string | undefined;
  /** Whether the text may hold a secret, and is not to be shown. */
  readonly hides?: (text: string) => boolean;
}

export const FIELD_INFO = z.registry<FieldInfo>();

export interface TextOptions extends FieldInfo {
  readonly is: string;
  readonly description: string;
  readonly maxLength: number;
  /** In the syntax that JavaScript and Go's RE2 share: the API server checks it too. */
  readonly pattern: RegExp;
}

/** A bounded text field. */
export function text({ description, maxLength, pattern, ...info }: TextOptions): z.ZodString {
  return z
    .string()
    .max(maxLength)
    .regex(pattern)
    .refine((value) => info.fault?.(value) === undefined)
    .meta({ description })
    .register(FIELD_INFO, info);
}

/** A bounded text field that only programs write. */
export function plainText({
  description,
  maxLength,
  pattern,
}: {
  readonly description: string;
  readonly maxLength: number;
  readonly pattern?: RegExp;
}): z.ZodString {
  const bounded = z.string().max(maxLength);
  return (pattern === undefined ? bounded : bounded.regex(pattern)).meta({ description });
}

/** A list whose items are told apart by a key, which is unique: to Kubernetes, and to server-side apply. */
export function listMapBy(key: string): Record<string, unknown> {
  return { 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': [key] };
}

interface ListOptions {
  readonly description: string;
  readonly min: number;
  readonly max: number;
  /** The field whose value no two items share. */
  readonly key?: string;
  /** What the list holds, as words that follow "a list of 1 to 8". */
  readonly of: string;
}

/** A bounded list. */
export function list<S extends z.ZodType>(
  item: S,
  { description, min, max, key, of }: ListOptions,
): z.ZodArray<S> {
  return z
    .array(item)
    .min(min)
    .max(max)
    .meta({ description, ...(key === undefined ? {} : listMapBy(key)) })
    .register(FIELD_INFO, { accepted: `a list of ${min} to ${max} ${of}` });
}

/** A rule over several fields of one map. */
export interface Rule<T> {
  readonly id: string;
  /** The field at fault, from the map. */
  readonly path: Path;
  /** Fields that it reads. It waits until they are right by themselves, so that one mistake makes one problem. */
  readonly reads: readonly (keyof T & string)[];
  /** What is wrong, as words that follow the field; constant, as the API server's message is. */
  readonly message: string;
  readonly accepted: string;
  readonly holds: (value: T) => boolean;
  /** More precise than `path`, for a rule that a map can break in several places. */
  readonly culprits?: (value: T) => Path[];
  /**
   * The same rule for the API server, in CEL over the map as `self`; true where fields that it reads are wrong by
   * themselves. Absent where the structure of the schema says it: a list-map has unique keys.
   */
  readonly cel?: string;
}

/** The rules of the maps made by {@link withRules}. */
// oxlint-disable-next-line typescript/no-explicit-any -- each map has rules of its own type
export const RULES = z.registry<{ readonly rules: readonly Rule<any>[] }>();

/** The schema with rules over its fields. */
export function withRules<S extends z.ZodObject>(schema: S, rules: readonly Rule<z.output<S>>[]): S {
  const ruled = schema.superRefine(
    (value, context) => {
      for (const rule of rules.filter(({ reads }) => isReady(reads, context.issues))) {
        if (rule.holds(value)) continue;
        for (const path of rule.culprits?.(value) ?? [rule.path]) {
          context.addIssue({
            code: 'custom',
            path: [...path],
            message: rule.message,
            params: { accepted: rule.accepted },
          });
        }
      }
    },
    { when: () => true }, // else one wrong field of the map would silence the rules over all others
  );
  RULES.add(ruled, { rules });
  return ruled;
}

function isReady(reads: readonly string[], issues: readonly z.core.$ZodRawIssue[]): boolean {
  return !issues.some(({ code, path = [] }) =>
    path.length === 0 ? code === 'invalid_type' : reads.includes(String(path[0])),
  );
}

/** The schema without its "optional" and "default". */
export function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault) return unwrap(schema.unwrap());
  return schema;
}

/** What may stand in a field, in words. */
export function acceptedBy(field: z.core.$ZodType): string {
  const info = FIELD_INFO.get(field);
  if (info !== undefined) return info.accepted;
  if (field instanceof z.ZodObject) return `a map with ${Object.keys(field.shape).join(', ')}`;
  if (field instanceof z.ZodEnum) return field.options.join(' or ');
  if (field instanceof z.ZodLiteral) return [...field.values].join(' or ');
  if (field instanceof z.ZodNumber) return `a whole number from ${field.minValue} to ${field.maxValue}`;
  if (field instanceof z.ZodBoolean) return 'true or false';
  return 'anything';
}
