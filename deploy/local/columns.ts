export interface ColumnOptions {
  /** Spaces between two columns. */
  readonly gap: number;
  /** Minimum width of a column, including its gap. */
  readonly minWidth?: number;
}

/** Returns one line per row, with each cell padded to the width of its column. */
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
