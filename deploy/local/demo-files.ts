import { parseDocument } from 'yaml';

/** Lines that a shell can source and that `--secret NAME=FILE` reads. The values need no quotes: URLs and hex. */
export function envFile(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([key, value]) => `${key}=${value}\n`)
    .join('');
}

/** The text of a StorageProbe, with the endpoint of its first target changed and all else, comments too, kept. */
export function withEndpoint(probe: string, endpoint: string): string {
  const document = parseDocument(probe);
  document.setIn(['spec', 'targets', 0, 'endpoint'], endpoint);
  return document.toString();
}
