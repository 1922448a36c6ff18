import { describe, expect, it } from 'vitest';
import { formatPath, formatProblem, formatProblems, showText } from './problem.ts';

describe('formatProblem', () => {
  it.each([
    {
      name: 'shows the location, the problem and the accepted values',
      problem: {
        at: { file: 'my-minio.yaml', line: 12 },
        path: ['spec', 'objects', 0, 'size'],
        value: '"4KB"',
        message: 'is not a size',
        accepted: 'a number of bytes',
      },
      want: 'my-minio.yaml:12: spec.objects[0].size: "4KB" is not a size; accepted: a number of bytes',
    },
    {
      name: 'omits absent parts',
      problem: { path: [], message: 'no StorageProbe found' },
      want: 'no StorageProbe found',
    },
  ])('$name', ({ problem, want }) => {
    expect(formatProblem(problem)).toBe(want);
  });
});

describe('formatProblems', () => {
  it('counts the omitted problems', () => {
    const problems = Array.from({ length: 5 }, (_, index) => ({ path: [index], message: 'is wrong' }));
    expect(formatProblems(problems, 3)).toStrictEqual([
      '[0]: is wrong',
      '[1]: is wrong',
      '[2]: is wrong',
      'and 2 more',
    ]);
  });
});

it('formatPath puts unusual field names in brackets', () => {
  expect(formatPath(['data', 'ca.crt', 'two\nlines', 3])).toBe(String.raw`data.ca.crt["two\nlines"][3]`);
});

it('showText escapes line breaks and cuts long text', () => {
  expect(showText(`a\n${'b'.repeat(100)}`)).toBe(String.raw`"a\n${'b'.repeat(58)}…"`);
});
