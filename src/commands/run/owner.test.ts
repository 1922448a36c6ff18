import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { acquireOwner } from './owner.ts';

/** Linux and macOS never assign a PID this high. */
const UNUSED_PID = 2 ** 30;

const SUBJECT = ['storage', 'my-minio', 'my-minio'];

describe('acquireOwner', () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'owner-'));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  it('gives concurrent runs different names and reuses a released name', async () => {
    const first = await acquireOwner(SUBJECT, folder);
    const second = await acquireOwner(SUBJECT, folder);
    expect(second.name).not.toBe(first.name);
    await first[Symbol.asyncDispose]();
    expect((await acquireOwner(SUBJECT, folder)).name).toBe(first.name);
  });

  it('ignores runs of other targets', async () => {
    const first = await acquireOwner(SUBJECT, folder);
    expect((await acquireOwner(['storage', 'my-minio', 'other'], folder)).name).toBe(first.name);
  });

  it('reuses the name of a killed run', async () => {
    const { name } = await acquireOwner(SUBJECT, folder);
    const [file = ''] = await readdir(folder);
    await writeFile(join(folder, file), `${UNUSED_PID}`);
    expect((await acquireOwner(SUBJECT, folder)).name).toBe(name);
  });

  it('returns a name even if the lock file cannot be written', async () => {
    const { name } = await acquireOwner(SUBJECT, folder);
    expect((await acquireOwner(SUBJECT, '/dev/null/names')).name).toBe(name);
  });
});
