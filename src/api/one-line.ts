const MAX_LENGTH = 200;

/**
 * Foreign text as one bounded line that a terminal, a log and a page can show: whatever is not printable, such as line
 * breaks, escape sequences and marks that turn the direction of text, becomes a space.
 *
 * @param maxLength in UTF-16 code units; a longer line is cut, and ends in `…`.
 */
export function oneLine(text: string, maxLength = MAX_LENGTH): string {
  const line = text.replaceAll(/[\p{C}\p{Z}]+/gu, ' ').trim();
  if (line.length <= maxLength) return line;
  // Not through the middle of a character.
  return `${line.slice(0, maxLength - 1).replace(/[\uD800-\uDBFF]$/, '')}…`;
}
