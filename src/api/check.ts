import { z } from 'zod';
import { acceptedBy, FIELD_INFO, unwrap } from './field.ts';
import { type Path, type Problem, showText } from './problem.ts';
import { didYouMean, nearest } from './suggest.ts';

export type Checked<T> = { readonly value: T } | { readonly problems: readonly Problem[] };

export interface CheckOptions {
  /** If true, problems show no values. Used for Secrets. */
  readonly hideValues?: boolean;
}

const SENSITIVE_NAME = /secret|credential|password|token|accesskey/i;

/** Checks a value against a schema. Returns the value with defaults applied, or the problems in plain words. */
export function check<S extends z.ZodType>(
  schema: S,
  input: unknown,
  { hideValues = false }: CheckOptions = {},
): Checked<z.output<S>> {
  const value = withoutNulls(input, schema);
  const result = schema.safeParse(value);
  if (result.success) return { value: result.data };

  const problems = new Map<string, Problem>();
  for (const issue of result.error.issues) {
    for (const problem of toProblems(issue, schema, value, hideValues)) {
      // A text can violate length, pattern and refinement at once. Report only the first problem.
      const key = JSON.stringify(problem.path);
      if (!problems.has(key)) problems.set(key, problem);
    }
  }
  return { problems: [...problems.values()] };
}

/** Like the API server, treats a null field as absent, but keeps unknown fields so that they are reported. */
function withoutNulls(value: unknown, schema: z.core.$ZodType): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const field = unwrap(schema);
  if (Array.isArray(value)) return value.map((item) => withoutNulls(item, memberOf(field, 0)));
  const present = Object.entries(value).filter(([key, member]) => member !== null || isUnknown(key, field));
  return Object.fromEntries(
    present.map(([key, member]) => [key, withoutNulls(member, memberOf(field, key))]),
  );
}

function isUnknown(key: string, map: z.core.$ZodType): boolean {
  return (
    map instanceof z.ZodObject && map.def.catchall instanceof z.ZodNever && !Object.hasOwn(map.shape, key)
  );
}

function toProblems(
  issue: z.core.$ZodIssue,
  schema: z.ZodType,
  input: unknown,
  hideValues: boolean,
): Problem[] {
  const path = issue.path.map((part) => (typeof part === 'number' ? part : String(part)));
  const field = fieldAt(schema, path);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => unknownField([...path, key], field));
  }

  const value = valueAt(input, path);
  const hidden = hideValues || mayBeSecret(path, field, value);
  const shown = isScalar(value) ? { value: hidden ? 'the value (not shown)' : showScalar(value) } : {};
  const accepted: unknown = issue.code === 'custom' ? issue.params?.['accepted'] : undefined;
  if (typeof accepted === 'string') return [{ path, ...shown, message: issue.message, accepted }];
  return [
    { path, ...shown, message: describeFault(issue, field, value, hidden), accepted: acceptedBy(field) },
  ];
}

function unknownField(path: Path, map: z.core.$ZodType): Problem {
  const known = map instanceof z.ZodObject ? Object.keys(map.shape) : [];
  const suggestion = nearest(String(path.at(-1)), known);
  return { path, message: `unknown field${didYouMean(suggestion)}`, accepted: known.join(', ') };
}

function describeFault(
  issue: z.core.$ZodIssue,
  field: z.core.$ZodType,
  value: unknown,
  hidden: boolean,
): string {
  if (value === undefined) return 'is missing';
  if (field instanceof z.ZodString) {
    return typeof value === 'string'
      ? textFault(issue, field, value)
      : `is ${kindOf(value)}${quoteHint(field, value, hidden)}`;
  }
  if (field instanceof z.ZodEnum && typeof value === 'string') {
    return `is not supported${didYouMean(nearest(value, field.options.map(String)))}`;
  }
  if (field instanceof z.ZodNumber && typeof value === 'number') {
    if (issue.code === 'too_small') return 'is too small';
    return issue.code === 'too_big' ? 'is too large' : 'is not a whole number';
  }
  if (field instanceof z.ZodArray && Array.isArray(value)) {
    return `has ${value.length} ${value.length === 1 ? 'entry' : 'entries'}`;
  }
  return `is ${kindOf(value)}`;
}

function textFault(issue: z.core.$ZodIssue, field: z.ZodString, value: string): string {
  if (issue.code === 'too_big') return `is longer than ${issue.maximum} characters`;
  const info = FIELD_INFO.get(field);
  return info?.fault?.(value) ?? `is not ${info?.is ?? 'accepted'}`;
}

/** Suggests how to write a value as text if YAML parsed it as a number or boolean. */
function quoteHint(field: z.ZodString, value: unknown, hidden: boolean): string {
  if (!isScalar(value)) return '';
  if (hidden) return ' (put it in quotes)';
  const fromNumber = FIELD_INFO.get(field)?.fromNumber;
  const suggestion =
    typeof value === 'number' && fromNumber !== undefined ? fromNumber(value) : JSON.stringify(String(value));
  return didYouMean(suggestion);
}

function mayBeSecret(path: Path, field: z.core.$ZodType, value: unknown): boolean {
  if (path.some((part) => SENSITIVE_NAME.test(String(part)))) return true;
  return typeof value === 'string' && FIELD_INFO.get(field)?.isSensitive?.(value) === true;
}

function isScalar(value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
}

function showScalar(value: string | number | boolean): string {
  return typeof value === 'string' ? showText(value) : String(value);
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (value === null) return 'empty';
  if (typeof value === 'object') return 'a map';
  if (typeof value === 'string') return 'text';
  return `a ${typeof value}`;
}

function fieldAt(schema: z.core.$ZodType, path: Path): z.core.$ZodType {
  let field = unwrap(schema);
  for (const part of path) field = unwrap(memberOf(field, part));
  return field;
}

/** Schema of one member of a map or list. */
function memberOf(field: z.core.$ZodType, part: string | number): z.core.$ZodType {
  if (field instanceof z.ZodObject && Object.hasOwn(field.shape, part)) return field.shape[part];
  if (field instanceof z.ZodArray) return field.element;
  return field instanceof z.ZodRecord ? field.valueType : z.unknown();
}

function valueAt(value: unknown, path: Path): unknown {
  let found = value;
  for (const part of path) {
    if (typeof found !== 'object' || found === null) return undefined;
    found = Reflect.get(found, part);
  }
  return found;
}
