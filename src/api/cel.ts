/**
 * CEL expression that is true if `operand` matches. The pattern has no flags and uses only syntax that JavaScript and RE2
 * share.
 */
export function matches(pattern: RegExp, operand = 'self'): string {
  return `${operand}.matches(${rawString(pattern.source.replaceAll(String.raw`\/`, '/'))})`;
}

/** CEL raw string, which has no escapes. */
function rawString(text: string): string {
  if (/['\n]/.test(text)) throw new Error(`cannot be written as a CEL raw string: ${text}`);
  return `r'${text}'`;
}
