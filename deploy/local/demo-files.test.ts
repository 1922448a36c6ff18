import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parse } from 'yaml';

import { envFile, withEndpoint } from './demo-files.ts';

const sample = await readFile(join(import.meta.dirname, '../samples/my-minio.yaml'), 'utf8');

it('writes a line for each value', () => {
  expect(envFile({ MINIO_URL: 'http://127.0.0.1:9000', JAEGER_URL: 'http://127.0.0.1:16686' })).toBe(
    'MINIO_URL=http://127.0.0.1:9000\nJAEGER_URL=http://127.0.0.1:16686\n',
  );
});

it('changes the endpoint of the sample, and nothing else', () => {
  const before = parse(sample);
  const after = parse(withEndpoint(sample, 'http://127.0.0.1:1234'));
  expect(after.spec.targets[0].endpoint).toBe('http://127.0.0.1:1234');
  after.spec.targets[0].endpoint = before.spec.targets[0].endpoint;
  expect(after).toEqual(before);
});
