const MAX_LENGTH = 200;

/**
 * Makes untrusted text safe to show in a terminal, a log or a page: one line of limited length. Unprintable characters
 * such as line breaks, escape characters and direction marks become spaces.
 *
 * @param maxLength In UTF-16 code units. A longer line is cut and ends in `…`. Default 200.
 */
export function oneLine(text: string, maxLength = MAX_LENGTH): string {
  const line = text.replaceAll(/[\p{C}\p{Z}]+/gu, ' ').trim();
  if (line.length <= maxLength) return line;
  // The cut may split a surrogate pair: remove its first half.
  return `${line.slice(0, maxLength - 1).replace(/[\uD800-\uDBFF]$/, '')}…`;
}
