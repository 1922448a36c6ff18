const MAX_SHOWN_LENGTH = 60;

export type Path = readonly (string | number)[];

/** A position in a file. Lines and columns start at 1. */
export interface Location {
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
}

/** One mistake in the input. */
export interface Problem {
  readonly at?: Location;
  /** Path of the field. Empty for a whole document or file. */
  readonly path: Path;
  /** The value as shown to users: short, and never a secret. */
  readonly value?: string;
  /** What is wrong, in words that follow the value or the path. */
  readonly message: string;
  /** Accepted values. Absent if the message is sufficient. */
  readonly accepted?: string;
}

/** Formats a problem as one line: the location, the problem and the accepted values. */
export function formatProblem({ at, path, value, message, accepted }: Problem): string {
  const where = [at === undefined ? '' : formatLocation(at), formatPath(path)].filter((part) => part !== '');
  const what = value === undefined ? message : `${value} ${message}`;
  return [...where, accepted === undefined ? what : `${what}; accepted: ${accepted}`].join(': ');
}

/** Formats up to `max` problems, one per line. A last line counts the rest. */
export function formatProblems(problems: readonly Problem[], max = 20): string[] {
  const lines = problems.slice(0, max).map(formatProblem);
  if (problems.length > max) lines.push(`and ${problems.length - max} more`);
  return lines;
}

export function formatLocation({ file, line, column }: Location): string {
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

/** Quotes a text on one line, cut to 60 characters. */
export function showText(text: string): string {
  const short = text.length > MAX_SHOWN_LENGTH ? `${text.slice(0, MAX_SHOWN_LENGTH)}…` : text;
  return JSON.stringify(short);
}
