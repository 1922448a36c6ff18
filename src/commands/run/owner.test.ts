import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

import { describe, expect, it, vi } from 'vitest';

import { temporaryFolder } from '../../../test/support/command-context.ts';
import { acquireOwner, type Owner } from './owner.ts';
import { stateFolder } from './state-folder.ts';

const SUBJECT = ['storage', 'my-minio', 'my-minio'];
const OWNER_MODULE = new URL('owner.ts', import.meta.url).href;

async function freshEnv(): Promise<{ XDG_STATE_HOME: string }> {
  return { XDG_STATE_HOME: await temporaryFolder() };
}

async function nameOf(acquiring: Promise<Owner>): Promise<string> {
  using owner = await acquiring;
  return owner.name;
}

/** A process that acquires a name, prints it and keeps it until it is killed. */
async function startHolder(
  env: Record<string, string>,
): Promise<{ name: string; kill: () => Promise<void> }> {
  const code = `import { acquireOwner } from '${OWNER_MODULE}';
    const owner = await acquireOwner(${JSON.stringify(SUBJECT)}, process.env);
    console.log(owner.name);
    setInterval(() => owner, 1_000_000);`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', code], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [chunk] = (await once(child.stdout, 'data')) as [Buffer];
  return {
    name: chunk.toString().trim(),
    kill: async () => {
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

describe('acquireOwner', () => {
  it('gives concurrent runs different names and reuses a released name', async () => {
    const env = await freshEnv();
    const first = await acquireOwner(SUBJECT, env);
    using second = await acquireOwner(SUBJECT, env);
    expect(second.name).not.toBe(first.name);
    first[Symbol.dispose]();
    expect(await nameOf(acquireOwner(SUBJECT, env))).toBe(first.name);
  });

  it('ignores runs of other targets', async () => {
    const env = await freshEnv();
    using first = await acquireOwner(SUBJECT, env);
    expect(await nameOf(acquireOwner(['storage', 'my-minio', 'other'], env))).toBe(first.name);
  });

  it('gives a one-time name if all names are in use', async () => {
    const env = await freshEnv();
    using owners = new DisposableStack();
    const names = new Set<string>();
    for (let run = 0; run < 102; run += 1) names.add(owners.use(await acquireOwner(SUBJECT, env)).name);
    expect(names.size).toBe(102);
  });

  it('gives processes that start at the same time different names', async () => {
    const env = await freshEnv();
    const holders = await Promise.all(Array.from({ length: 6 }, () => startHolder(env)));
    const slots = holders.map(({ name }) => Number(name.split('/')[1]));
    expect(new Set(slots)).toEqual(new Set([0, 1, 2, 3, 4, 5]));
    expect(new Set(holders.map(({ name }) => name.split('/')[0])).size).toBe(1);
    await Promise.all(holders.map(({ kill }) => kill()));
  });

  it('reuses the name of a killed run and reports that something may be left of it', async () => {
    const env = await freshEnv();
    const killed = await startHolder(env);
    await killed.kill();
    {
      using owner = await acquireOwner(SUBJECT, env);
      expect(owner).toMatchObject({ name: killed.name, mayHaveLeftovers: true });
    }
    {
      using owner = await acquireOwner(SUBJECT, env);
      expect(owner.mayHaveLeftovers).toBe(true);
      await owner.markClean();
    }
    using owner = await acquireOwner(SUBJECT, env);
    expect(owner).toMatchObject({ name: killed.name, mayHaveLeftovers: false });
  });

  it('does not depend on the content of the lock file', async () => {
    const env = await freshEnv();
    const name = await nameOf(acquireOwner(SUBJECT, env));
    const folder = join(env.XDG_STATE_HOME, 'storage-probe');
    const lock = (await readdir(folder)).find((file) => file.endsWith('.lock')) ?? '';
    expect(await readFile(join(folder, lock), 'utf8')).toBe('');
    await writeFile(join(folder, lock), 'not a lock file');
    // A name that is used once is safe, although a crash under it leaves a bucket behind.
    const [first, second] = [await acquireOwner(SUBJECT, env), await acquireOwner(SUBJECT, env)];
    expect(new Set([name, first.name, second.name]).size).toBe(3);
  });

  it.each(['', 'not an ID'])('replaces a damaged ID: "%s"', async (content) => {
    const env = await freshEnv();
    const folder = join(env.XDG_STATE_HOME, 'storage-probe');
    await mkdir(folder);
    await writeFile(join(folder, 'prober-id'), content);
    const name = await nameOf(acquireOwner(SUBJECT, env));
    expect(name).toMatch(/^[\da-f-]{36}@[\da-f]*\/0$/);
    expect(await nameOf(acquireOwner(SUBJECT, env))).toBe(name);
  });

  it('never gives the same name twice if there is no writable folder', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'file'), '');
    const env = { XDG_STATE_HOME: join(folder, 'file') };
    vi.stubEnv('TMPDIR', join(folder, 'file'));
    const [first, second] = [await acquireOwner(SUBJECT, env), await acquireOwner(SUBJECT, env)];
    vi.unstubAllEnvs();
    expect(first.name).not.toBe(second.name);
    expect(first.mayHaveLeftovers).toBe(false);
    await expect(first.markClean()).resolves.toBeUndefined();
  });
});

it.runIf(userInfo().uid === 0)('works for a user ID without a passwd entry', async () => {
  const folder = await temporaryFolder();
  await chmod(folder, 0o777);
  const code = `import { acquireOwner } from '${OWNER_MODULE}';
    process.setgid(54321); process.setuid(54321);
    console.log((await acquireOwner(['a'], { HOME: '/' })).name);`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', code], {
    env: { TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  expect(await text(child.stdout)).toMatch(/^[\da-f-]{36}@[\da-f]*\/0$/m);
});

describe('stateFolder', () => {
  it('prefers XDG_STATE_HOME to the home directory', async () => {
    const [stateHome, home] = [await temporaryFolder(), await temporaryFolder()];
    expect(await stateFolder({ XDG_STATE_HOME: stateHome, HOME: home })).toBe(
      join(stateHome, 'storage-probe'),
    );
    expect(await stateFolder({ XDG_STATE_HOME: 'relative', HOME: home })).toBe(
      join(home, '.local/state/storage-probe'),
    );
  });

  it("uses the temporary directory without a home directory, but not another user's folder in it", async () => {
    expect(await stateFolder({})).toBe(join(tmpdir(), `storage-probe-${userInfo().uid}`));
    const folder = await temporaryFolder();
    vi.stubEnv('TMPDIR', folder);
    await mkdir(join(folder, 'storage-probe-54321'));
    expect(await stateFolder({}, 54_321)).toBeUndefined();
    vi.unstubAllEnvs();
  });
});
