const MAX_LENGTH = 300;

/** A foreign message as one bounded, printable line. */
export function oneLine(message: string): string {
  return message
    .replaceAll(/[\s\p{C}]+/gu, ' ')
    .slice(0, MAX_LENGTH)
    .trim();
}
