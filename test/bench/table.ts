import { formatColumns } from '../../deploy/local/columns.ts';

/** The first row is the header. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  return formatColumns(rows, { gap: 2 });
}
