import { z } from 'zod';

import { oneLine } from '../../src/api/one-line.ts';
import { formatColumns } from './columns.ts';
import type { KubeAccess } from './control-plane.ts';
import { askKubeFor } from './kube-api.ts';

/** `metav1.Table`, as far as it is shown. Dates come as ages, such as `12s`. */
const Table = z.object({
  columnDefinitions: z.array(
    z.object({
      name: z.string(),
      /** Above 0: of a wide table only. */
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

/** Of kubectl's columns: the gap is part of the width. */
const MIN_WIDTH = 6;
const GAP = 3;
const MAX_CELL_LENGTH = 100;

/**
 * All objects of a namespaced kind, as `kubectl get -A` shows them.
 *
 * @param path where the API server serves the kind, such as `/apis/storageprobe.dev/v1alpha1/storageprobes`.
 * @throws Error with the API server's own words.
 */
export async function getTable(access: KubeAccess, path: string, signal?: AbortSignal): Promise<string> {
  const accept = 'application/json;as=Table;g=meta.k8s.io;v=v1';
  return formatTable(Table.parse(await askKubeFor(access, { path, accept }, signal)));
}

/** Lines without an end of line after the last one. */
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

/** A cell may hold what a store said, and then anything. */
function formatCell(cell: string | number | boolean | null): string {
  return cell === null ? '' : oneLine(String(cell), MAX_CELL_LENGTH);
}
