export interface ColumnOptions {
  /** Spaces between two columns. */
  readonly gap: number;
  /** Of a column, with its gap. */
  readonly minWidth?: number;
}

/** One line for each row, its cells padded to the widest of their column. */
export function formatColumns(
  rows: readonly (readonly string[])[],
  { gap, minWidth = 0 }: ColumnOptions,
): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? minWidth, cell.length + gap);
    });
  }
  const lines = rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(''));
  return lines.map((line) => line.trimEnd()).join('\n');
}
