import { formatColumns } from '../../deploy/local/columns.ts';

/** The first row is the head. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  return formatColumns(rows, { gap: 2 });
}
