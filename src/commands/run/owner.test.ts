import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { takeOwner } from './owner.ts';

/** Linux and macOS give out no process id as high as this. */
const NOBODY = 2 ** 30;

describe('the owner of a run', () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'owner-'));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  it('has a name that no other run has at the same time, and that the next run has again', async () => {
    const first = await takeOwner(folder);
    const second = await takeOwner(folder);
    expect(second.name).not.toBe(first.name);
    await first[Symbol.asyncDispose]();
    expect((await takeOwner(folder)).name).toBe(first.name);
  });

  it('has the name of a run that was killed, and so finds what it left', async () => {
    const { name } = await takeOwner(folder);
    await writeFile(join(folder, '0.pid'), `${NOBODY}`);
    expect((await takeOwner(folder)).name).toBe(name);
  });

  it('has a name where no file can be written', async () => {
    const { name } = await takeOwner(folder);
    expect((await takeOwner('/dev/null/names')).name).toBe(name);
  });
});
