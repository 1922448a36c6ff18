import { z } from 'zod';
import type { Path } from './problem.ts';

/** Texts about a field for problems and the reference page, in addition to its schema. */
export interface FieldInfo {
  /** Accepted values, with an example. */
  readonly accepted: string;
  /** Noun phrase that completes "is not …". */
  readonly is?: string;
  /**
   * Explains why a text is rejected, in words that follow the text. Also called for texts that match the pattern.
   * Undefined if the text is accepted.
   */
  readonly fault?: (text: string) => string | undefined;
  /**
   * CEL rule for `self` that the API server checks in addition to the pattern. For strings that match the pattern, it
   * is true if and only if `fault` returns undefined.
   */
  readonly cel?: string;
  /** Suggests how to write a bare number as text. */
  readonly fromNumber?: (value: number) => string | undefined;
  /** Returns true if the text may contain a secret and must not be shown. */
  readonly isSensitive?: (text: string) => boolean;
}

export const FIELD_INFO = z.registry<FieldInfo>();

export interface TextOptions extends FieldInfo {
  readonly is: string;
  readonly description: string;
  readonly maxLength: number;
  /** Uses only syntax that JavaScript and RE2 share, because the API server checks the pattern too. */
  readonly pattern: RegExp;
}

/** A text field with a maximum length. */
export function text({ description, maxLength, pattern, ...info }: TextOptions): z.ZodString {
  return z
    .string()
    .max(maxLength)
    .regex(pattern)
    .refine((value) => info.fault?.(value) === undefined)
    .meta({ description })
    .register(FIELD_INFO, info);
}

/** A text field with a maximum length that only programs write. */
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

/** Schema keywords of a list whose items have a unique key. Server-side apply merges such lists by key. */
export function listMapBy(key: string): Record<string, unknown> {
  return { 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': [key] };
}

interface ListOptions {
  readonly description: string;
  readonly min: number;
  readonly max: number;
  /** Field whose value is unique in the list. */
  readonly key?: string;
  /** Description of the items, in words that follow "a list of 1 to 8". */
  readonly of: string;
}

/** A list with a minimum and maximum length. */
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
  /** Path of the invalid field, relative to the map. */
  readonly path: Path;
  /** Fields that the rule reads. If one of them is invalid, the rule is skipped, so that one mistake is reported once. */
  readonly reads: readonly (keyof T & string)[];
  /** What is wrong, phrased to be printed after the field path. Constant, like the message of a CEL rule. */
  readonly message: string;
  readonly accepted: string;
  readonly holds: (value: T) => boolean;
  /** Paths to report instead of `path`, for a rule that can be broken in several places. */
  readonly wrongPaths?: (value: T) => Path[];
  /**
   * The same rule for the API server, in CEL with the map as `self`. Must also evaluate to true if a field that the
   * rule reads is invalid. Absent if the schema's structure enforces the rule, as a list map enforces unique keys.
   */
  readonly cel?: string;
}

/** Rules of the maps created with {@link withRules}. */
// oxlint-disable-next-line typescript/no-explicit-any -- the rules of each map have a different type
export const RULES = z.registry<{ readonly rules: readonly Rule<any>[] }>();

/** Adds rules over several fields to a schema. */
export function withRules<S extends z.ZodObject>(schema: S, rules: readonly Rule<z.output<S>>[]): S {
  const ruled = schema.superRefine(
    (value, context) => {
      for (const rule of rules.filter(({ reads }) => areValid(reads, context.issues))) {
        if (rule.holds(value)) continue;
        for (const path of rule.wrongPaths?.(value) ?? [rule.path]) {
          context.addIssue({
            code: 'custom',
            path: [...path],
            message: rule.message,
            params: { accepted: rule.accepted },
          });
        }
      }
    },
    { when: () => true }, // otherwise one wrong field would disable all rules of the map
  );
  RULES.add(ruled, { rules });
  return ruled;
}

function areValid(fields: readonly string[], issues: readonly z.core.$ZodRawIssue[]): boolean {
  return !issues.some(({ code, path = [] }) =>
    path.length === 0 ? code === 'invalid_type' : fields.includes(String(path[0])),
  );
}

/** Removes `optional` and `default` from a schema. */
export function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault) return unwrap(schema.unwrap());
  return schema;
}

/** Describes the accepted values of a field. */
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
