import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { takeOwner } from './owner.ts';

/** Linux and macOS give out no process id as high as this. */
const NOBODY = 2 ** 30;

const SUBJECT = ['storage', 'my-minio', 'my-minio'];

describe('the owner of a run', () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'owner-'));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  it('has a name that no other run has at the same time, and that the next run has again', async () => {
    const first = await takeOwner(SUBJECT, folder);
    const second = await takeOwner(SUBJECT, folder);
    expect(second.name).not.toBe(first.name);
    await first[Symbol.asyncDispose]();
    expect((await takeOwner(SUBJECT, folder)).name).toBe(first.name);
  });

  it('does not mind runs of something else', async () => {
    const first = await takeOwner(SUBJECT, folder);
    expect((await takeOwner(['storage', 'my-minio', 'other'], folder)).name).toBe(first.name);
  });

  it('has the name of a run that was killed, and so finds what it left', async () => {
    const { name } = await takeOwner(SUBJECT, folder);
    const [file = ''] = await readdir(folder);
    await writeFile(join(folder, file), `${NOBODY}`);
    expect((await takeOwner(SUBJECT, folder)).name).toBe(name);
  });

  it('has a name where no file can be written', async () => {
    const { name } = await takeOwner(SUBJECT, folder);
    expect((await takeOwner(SUBJECT, '/dev/null/names')).name).toBe(name);
  });
});
