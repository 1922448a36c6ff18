import { expect, it } from 'vitest';

import { formatLabels, negotiateFormat, toOpenMetrics } from './exposition.ts';

it.each([
  { name: 'curl', accept: '*/*', want: 'prometheus' },
  { name: 'a client without an Accept header', accept: undefined, want: 'prometheus' },
  {
    name: 'Prometheus',
    accept:
      'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2',
    want: 'openmetrics',
  },
  {
    name: 'a scraper that prefers the plain format',
    accept: 'text/plain;version=0.0.4;q=0.9, application/openmetrics-text;q=0.5',
    want: 'prometheus',
  },
  {
    name: 'a scraper that rejects OpenMetrics',
    accept: 'application/openmetrics-text;q=0',
    want: 'prometheus',
  },
  { name: 'an invalid Accept header', accept: ';;,,application/openmetrics-text;q=much', want: 'prometheus' },
])('negotiates $want with $name', ({ accept, want }) => {
  expect(negotiateFormat(accept)).toBe(want);
});

it('strips _total from counters only, in OpenMetrics', () => {
  const text =
    '# HELP a_total A.\n# TYPE a_total counter\na_total 1\n\n# HELP b_total B.\n# TYPE b_total gauge\nb_total 2\n';
  expect(toOpenMetrics(text)).toBe(
    '# HELP a A.\n# TYPE a counter\na_total 1\n# HELP b_total B.\n# TYPE b_total gauge\nb_total 2\n',
  );
});

it('escapes special characters in label values', () => {
  expect(formatLabels({ a: 'x', b: 'q"\\\n' })).toBe(String.raw`a="x",b="q\"\\\n"`);
});
