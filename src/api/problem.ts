const MAX_SHOWN_LENGTH = 60;

export type Path = readonly (string | number)[];

/** A place in a text; line and column count from 1. */
export interface Place {
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
}

/** One mistake in the input, for {@link formatProblem}. */
export interface Problem {
  readonly at?: Place;
  /** The field; empty for a document or text as a whole. */
  readonly path: Path;
  /** The value as a reader may see it: short, and never a secret. */
  readonly value?: string;
  /** What is wrong, as words that follow the value or the path. */
  readonly message: string;
  /** What would be right; left out where the message says it all. */
  readonly accepted?: string;
}

/** One line: where, what, and what is accepted. */
export function formatProblem({ at, path, value, message, accepted }: Problem): string {
  const where = [at === undefined ? '' : formatPlace(at), formatPath(path)].filter((part) => part !== '');
  const what = value === undefined ? message : `${value} ${message}`;
  return [...where, accepted === undefined ? what : `${what}; accepted: ${accepted}`].join(': ');
}

/** At most `max` lines, and a last one that counts the rest. */
export function formatProblems(problems: readonly Problem[], max = 20): string[] {
  const lines = problems.slice(0, max).map(formatProblem);
  if (problems.length > max) lines.push(`and ${problems.length - max} more`);
  return lines;
}

export function formatPlace({ file, line, column }: Place): string {
  return [file, line, column].filter((part) => part !== undefined).join(':');
}

/** `spec.objects[0].size` */
export function formatPath(path: Path): string {
  let formatted = '';
  for (const part of path) {
    if (typeof part === 'number') formatted += `[${part}]`;
    else if (/^[\w./-]{1,63}$/.test(part)) formatted += formatted === '' ? part : `.${part}`;
    else formatted += `[${showText(part)}]`;
  }
  return formatted;
}

/** The text in quotes, on one line, cut to a length that a line can bear. */
export function showText(text: string): string {
  const short = text.length > MAX_SHOWN_LENGTH ? `${text.slice(0, MAX_SHOWN_LENGTH)}…` : text;
  return JSON.stringify(short);
}
