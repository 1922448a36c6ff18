import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';

import { contextOf } from '../../test/support/command-context.ts';
import { crdCommand } from './crd.ts';

it('prints what lies in deploy/crds', async () => {
  const context = contextOf();
  await crdCommand(context).parseAsync([], { from: 'user' });
  const file = new URL('../../deploy/crds/storageprobes.yaml', import.meta.url);
  expect(context.stdout.text).toBe(await readFile(file, 'utf8'));
});
