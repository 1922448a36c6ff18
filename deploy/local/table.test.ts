import { describe, expect, it } from 'vitest';

import { formatTable, type Table } from './table.ts';

type Row = readonly [namespace: string, ...cells: (string | number | null)[]];

function tableOf(columns: readonly string[], ...rows: readonly Row[]): Table {
  return {
    columnDefinitions: columns.map((name) => ({ name })),
    rows: rows.map(([namespace, ...cells]) => ({ cells, object: { metadata: { namespace } } })),
  };
}

describe('formatTable', () => {
  it('pads each column to its widest cell, as kubectl does', () => {
    const table = tableOf(
      ['Name', 'Ready', 'N', 'Last Run', 'Failures'],
      ['storage', 'my-minio', 'True', 1, '12s', 0],
      ['a', 'archive-of-everything', 'False', null, null, 12],
    );
    expect(formatTable(table)).toBe(
      [
        'NAMESPACE   NAME                    READY   N     LAST RUN   FAILURES',
        'storage     my-minio                True    1     12s        0',
        'a           archive-of-everything   False                    12',
      ].join('\n'),
    );
  });

  it.each([{ rows: [] }, { rows: null }, {}])('reports an empty table: %o', (rows) => {
    expect(formatTable({ columnDefinitions: [{ name: 'Name' }], ...rows })).toBe('No resources found');
  });

  it('omits columns that only -o wide shows', () => {
    const columnDefinitions = [
      { name: 'Name' },
      { name: 'Trace', priority: 1 },
      { name: 'Age', priority: 0 },
    ];
    const { rows } = tableOf([], ['storage', 'my-minio', '249bf819', '12s']);
    expect(formatTable({ columnDefinitions, rows })).toBe(
      'NAMESPACE   NAME       AGE\nstorage     my-minio   12s',
    );
  });

  it('keeps text from a store on one line, without control characters', () => {
    const table = tableOf(
      ['Message'],
      ['storage', 'no\r\nspace \u001B[31mleft'],
      ['storage', 'x'.repeat(500)],
    );
    const [, first, second] = formatTable(table).split('\n');
    expect(first).toBe('storage     no space [31mleft');
    expect(second).toHaveLength('NAMESPACE   '.length + 100);
  });
});
