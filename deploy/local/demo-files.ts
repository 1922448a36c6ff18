import { parseDocument, stringify } from 'yaml';

/**
 * Returns lines for a shell to source or for `--secret NAME=FILE`. The values are URLs and hex, which need no quotes.
 */
export function envFile(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([key, value]) => `${key}=${value}\n`)
    .join('');
}

/**
 * Adapts a StorageProbe to the demo: replaces the schedule and the first target's endpoint, and removes the timeout,
 * because the default timeout fits the interval. Everything else is kept, including comments.
 */
export function demoProbe(
  probe: string,
  { endpoint, interval }: { readonly endpoint: string; readonly interval: string },
): string {
  const document = parseDocument(probe);
  document.setIn(['spec', 'targets', 0, 'endpoint'], endpoint);
  document.setIn(['spec', 'schedule'], document.createNode({ interval }));
  document.deleteIn(['spec', 'timeout']);
  return document.toString();
}

/** @param data keys and values, not base64-encoded. */
export function secretManifest(
  namespace: string,
  name: string,
  data: Readonly<Record<string, string>>,
): string {
  return stringify({ apiVersion: 'v1', kind: 'Secret', metadata: { namespace, name }, stringData: data });
}
