import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';

import { testContext } from '../../test/support/command-context.ts';
import { crdCommand } from './crd.ts';

it('prints the same CRD as deploy/crds', async () => {
  const context = testContext();
  await crdCommand(context).parseAsync([], { from: 'user' });
  const file = new URL('../../deploy/crds/storageprobes.yaml', import.meta.url);
  expect(context.stdout.text).toBe(await readFile(file, 'utf8'));
});
