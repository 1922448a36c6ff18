import { Readable } from 'node:stream';

import { expect, it } from 'vitest';

import { testContext } from '../../test/support/command-context.ts';
import { validateCommand } from './validate.ts';

const PROBES = `\
apiVersion: storageprobe.dev/v1alpha1
kind: StorageProbe
metadata: { name: one, namespace: storage }
spec:
  targets:
    - { name: a, endpoint: 'http://a:9000', credentialsSecretRef: { name: a } }
---
apiVersion: storageprobe.dev/v1alpha1
kind: StorageProbe
metadata: { name: two }
spec:
  objects: [{ size: 4Ki }, { size: 1Mi }]
  targets:
    - { name: a, endpoint: 'http://a:9000', credentialsSecretRef: { name: a } }
    - { name: b, endpoint: 'http://b:9000', credentialsSecretRef: { name: b } }
`;

it('prints one line per valid probe', async () => {
  const context = testContext({ stdin: Readable.from([PROBES]) });
  await validateCommand(context).parseAsync(['-f', '-'], { from: 'user' });
  expect(context.stdout.lines).toEqual([
    'storageprobe storage/one: valid (1 target, 1 object)',
    'storageprobe default/two: valid (2 targets, 2 objects)',
  ]);
  expect(context.stderr.text).toBe('');
});

it('prints only the errors if any probe is invalid', async () => {
  const context = testContext({ stdin: Readable.from([PROBES.replace('http://b:9000', 'b:9000')]) });
  const validating = validateCommand(context).parseAsync(['-f', '-'], { from: 'user' });
  await expect(validating).rejects.toMatchObject({
    name: 'InputError',
    lines: [expect.stringMatching(/^stdin:15: .*endpoint/)],
  });
  expect(context.stdout.text).toBe('');
});
