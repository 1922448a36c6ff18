import { z } from 'zod';

import { oneLine } from '../../src/api/one-line.ts';
import { formatColumns } from './columns.ts';
import type { KubeAccess } from './control-plane.ts';
import { requestKubeBody } from './kube-api.ts';

/** The parts of `metav1.Table` that are shown. The API server formats dates as ages, such as `12s`. */
const Table = z.object({
  columnDefinitions: z.array(
    z.object({
      name: z.string(),
      /** Columns with a priority above 0 are shown only with `-o wide`. */
      priority: z.number().optional(),
    }),
  ),
  rows: z
    .array(
      z.object({
        cells: z.array(z.union([z.string(), z.number(), z.boolean(), z.null()])),
        object: z.object({ metadata: z.object({ namespace: z.string().optional() }) }),
      }),
    )
    .nullish(),
});
export type Table = z.infer<typeof Table>;

/** Same as in kubectl. The minimum width of a column includes the gap. */
const MIN_WIDTH = 6;
const GAP = 3;
const MAX_CELL_LENGTH = 100;

/**
 * Returns all objects of a namespaced kind, formatted like `kubectl get -A`.
 *
 * @param path API path of the kind, such as `/apis/storageprobe.dev/v1alpha1/storageprobes`.
 * @throws Error with the API server's message.
 */
export async function getTable(access: KubeAccess, path: string, signal?: AbortSignal): Promise<string> {
  const accept = 'application/json;as=Table;g=meta.k8s.io;v=v1';
  return formatTable(Table.parse(await requestKubeBody(access, { path, accept }, signal)));
}

/** The result has no trailing newline. */
export function formatTable({ columnDefinitions, rows }: Table): string {
  if (rows === undefined || rows === null || rows.length === 0) return 'No resources found';
  const shown = columnDefinitions.map(({ priority = 0 }) => priority === 0);
  const head = [
    'NAMESPACE',
    ...columnDefinitions.map(({ name }) => name.toUpperCase()).filter((_, i) => shown[i]),
  ];
  const body = rows.map(({ cells, object }) => [
    object.metadata.namespace ?? '',
    ...cells.filter((_, i) => shown[i]).map((cell) => formatCell(cell)),
  ]);
  return formatColumns([head, ...body], { gap: GAP, minWidth: MIN_WIDTH });
}

/** A cell may contain arbitrary text from a store, including control characters. */
function formatCell(cell: string | number | boolean | null): string {
  return cell === null ? '' : oneLine(String(cell), MAX_CELL_LENGTH);
}
