/** Whether the text matches, in CEL. The expression is one of JavaScript's that Go's RE2 shares, without flags. */
export function matches(pattern: RegExp, text = 'self'): string {
  return `${text}.matches(${literal(pattern.source.replaceAll(String.raw`\/`, '/'))})`;
}

/** A raw string of CEL, which knows no escapes. */
function literal(text: string): string {
  if (/['\n]/.test(text)) throw new Error(`no raw string of CEL can hold ${text}`);
  return `r'${text}'`;
}
