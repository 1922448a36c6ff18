const MAX_LENGTH = 300;

/** Turns a message from another program into one printable line of limited length. */
export function oneLine(message: string): string {
  return message
    .replaceAll(/[\s\p{C}]+/gu, ' ')
    .slice(0, MAX_LENGTH)
    .trim();
}
