const MAX_LENGTH = 200;

/** The message of a foreign error as one bounded line. */
export function oneLine(message: string): string {
  return message.replaceAll(/\s+/g, ' ').slice(0, MAX_LENGTH).trim();
}
