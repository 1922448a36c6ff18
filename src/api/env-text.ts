/** A setting: `KEY=VALUE`, with an optional `export` before it. The value may contain anything. */
const SETTING = /^\s*(?:export\s+)?([\w.-]+)\s*=(.*)$/s;

/**
 * Parses the `KEY=VALUE` lines of an env file, a shell script that only exports, or the first section of an INI file.
 * Comments and blank lines are ignored. Values keep their quotes and surrounding spaces.
 *
 * @returns undefined if a line is none of these.
 */
export function parseEnvText(text: string): Map<string, string> | undefined {
  const values = new Map<string, string>();
  let sections = 0;
  for (const line of text.split(/\r?\n|\r/)) {
    if (/^\s*([#;]|$)/.test(line)) continue;
    if (/^\s*\[[^\]]*\]\s*$/.test(line)) {
      sections += 1;
      continue;
    }
    const [, key, value] = SETTING.exec(line) ?? [];
    if (key === undefined || value === undefined) return undefined;
    if (sections <= 1) values.set(key, value);
  }
  return values;
}
