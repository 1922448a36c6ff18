import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';

import { check } from '../../src/api/check.ts';
import { StorageProbe } from '../../src/api/storage-probe.ts';
import { demoProbe, envFile, secretManifest } from './demo-files.ts';

it('writes one line per value', () => {
  expect(envFile({ MINIO_URL: 'http://127.0.0.1:9000', JAEGER_URL: 'http://127.0.0.1:16686' })).toBe(
    'MINIO_URL=http://127.0.0.1:9000\nJAEGER_URL=http://127.0.0.1:16686\n',
  );
});

it('writes a Secret', () => {
  expect(parse(secretManifest('storage', 'my-minio-probe', { accessKey: 'a', secretKey: '0123' }))).toEqual({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { namespace: 'storage', name: 'my-minio-probe' },
    stringData: { accessKey: 'a', secretKey: '0123' },
  });
});

describe.each(['my-minio.yaml', 'existing-bucket.yaml'])('demoProbe for %s', async (file) => {
  const sample = await readFile(join(import.meta.dirname, '../samples', file), 'utf8');
  const copy = demoProbe(sample, { endpoint: 'http://127.0.0.1:1234', interval: '2s' });

  it('changes only the endpoint, schedule and timeout', () => {
    const { spec, ...rest } = parse(sample);
    const { timeout: _, ...others } = spec;
    expect(parse(copy)).toEqual({
      ...rest,
      spec: {
        ...others,
        schedule: { interval: '2s' },
        targets: [{ ...spec.targets[0], endpoint: 'http://127.0.0.1:1234' }],
      },
    });
  });

  it('is a valid StorageProbe', () => {
    expect(check(StorageProbe, parse(copy))).toHaveProperty('value');
  });
});
