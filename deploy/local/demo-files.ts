import { parseDocument, stringify } from 'yaml';

/** Lines that a shell can source and that `--secret NAME=FILE` reads. The values need no quotes: URLs and hex. */
export function envFile(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([key, value]) => `${key}=${value}\n`)
    .join('');
}

/**
 * The text of a StorageProbe as the demo applies it: the endpoint of its first target is another, and it runs at short
 * intervals, with the timeout that belongs to them. All else is kept, comments too.
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

/** @param data its keys and their values, not yet in base64. */
export function secretManifest(
  namespace: string,
  name: string,
  data: Readonly<Record<string, string>>,
): string {
  return stringify({ apiVersion: 'v1', kind: 'Secret', metadata: { namespace, name }, stringData: data });
}
