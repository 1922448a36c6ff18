import { chmod, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { findBinary, getBinary } from './binary.ts';

let dir: string;
let env: { PATH: string; XDG_CACHE_HOME: string; [name: string]: string };

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'storage-probe-binary-'));
  env = { PATH: join(dir, 'path'), XDG_CACHE_HOME: join(dir, 'cache') };
});

afterEach(() => rm(dir, { recursive: true, force: true }));

async function writeProgram(path: string, lines = ''): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `#!/bin/sh\n${lines}\n`);
  await chmod(path, 0o755);
  return path;
}

/** Puts a fake `go` on PATH. It writes an empty program and records each build in a file. */
async function fakeGo(lines = ''): Promise<void> {
  await writeProgram(
    join(env.PATH, 'go'),
    `
    [ "$1" = build ] || exit 0
    echo build >> '${dir}/builds'
    ${lines}
    while [ "$1" != -o ]; do shift; done
    echo '#!/bin/sh' > "$2"
    /bin/chmod +x "$2"`,
  );
}

async function builds(): Promise<number> {
  return (await readFile(join(dir, 'builds'), 'utf8')).trim().split('\n').length;
}

describe('findBinary', () => {
  it('finds programs on PATH and earlier builds, without building', async () => {
    await fakeGo();
    expect(await findBinary('minio', env)).toBeUndefined();
    const built = await getBinary('minio', { env });
    expect(await findBinary('minio', env)).toBe(built);
    const onPath = await writeProgram(join(env.PATH, 'minio'));
    expect(await findBinary('minio', env)).toBe(onPath);
  });
});

describe('getBinary', () => {
  it('prefers the program in the environment variable to the one on PATH', async () => {
    await writeProgram(join(env.PATH, 'minio'));
    env['STORAGE_PROBE_MINIO'] = await writeProgram(join(dir, 'mine'));
    expect(await getBinary('minio', { env })).toBe(join(dir, 'mine'));
  });

  it('rejects an environment variable that is not an executable file', async () => {
    env['STORAGE_PROBE_MINIO'] = join(dir, 'nothing');
    await expect(getBinary('minio', { env })).rejects.toThrow(/STORAGE_PROBE_MINIO is set to .*nothing/);
  });

  it('finds a program on PATH', async () => {
    const onPath = await writeProgram(join(env.PATH, 'jaeger'));
    expect(await getBinary('jaeger', { env })).toBe(onPath);
  });

  it('prefers the program in KUBEBUILDER_ASSETS to the one on PATH', async () => {
    await writeProgram(join(env.PATH, 'etcd'));
    const onPath = await writeProgram(join(env.PATH, 'kubectl'));
    const asset = await writeProgram(join(dir, 'envtest/etcd'));
    env['KUBEBUILDER_ASSETS'] = join(dir, 'envtest');
    expect(await getBinary('etcd', { env })).toBe(asset);
    expect(await getBinary('kubectl', { env })).toBe(onPath);
  });

  it('skips a different program that is also called mc', async () => {
    await writeProgram(join(dir, 'commander/mc'), 'echo GNU Midnight Commander 4.8.29');
    const client = await writeProgram(join(dir, 'minio/mc'), "echo 'Copyright (c) 2015-2025 MinIO, Inc.'");
    env.PATH = `${join(dir, 'commander')}:${join(dir, 'minio')}`;
    expect(await getBinary('mc', { env })).toBe(client);
  });

  it('builds a program once and reuses it', async () => {
    await fakeGo();
    const lines: string[] = [];
    const first = await getBinary('minio', { env, progress: (line) => lines.push(line) });
    expect(await getBinary('minio', { env })).toBe(first);
    expect(first.startsWith(env.XDG_CACHE_HOME)).toBe(true);
    expect(await builds()).toBe(1);
    expect(lines).toEqual([
      'building MinIO 2026-02-12 from source (4–6 min the first time)',
      expect.stringMatching(/^built MinIO 2026-02-12 in \d+ s$/),
    ]);
  });

  it('passes the build tags to Go', async () => {
    await fakeGo(`echo "$*" > '${dir}/arguments'`);
    await getBinary('promtool', { env });
    expect(await readFile(join(dir, 'arguments'), 'utf8')).toContain(' -tags remove_all_sd -o ');
  });

  it('shares one build between concurrent callers', async () => {
    await fakeGo();
    const wanted = Array.from({ length: 3 }, () => getBinary('minio', { env }));
    expect(new Set(await Promise.all(wanted)).size).toBe(1);
    expect(await builds()).toBe(1);
  });

  it('reports the end of the log when a build fails, and removes partial output', async () => {
    await fakeGo("echo 'no space left on device' >&2; exit 1");
    const error: unknown = await getBinary('minio', { env }).catch((reason: unknown) => reason);
    expect(String(error)).toMatch(/Building MinIO 2026-02-12 failed.*\n {2}no space left on device$/);
    const log = /The log is (\S+)/.exec(String(error))?.[1] ?? '';
    expect(await readFile(log, 'utf8')).toContain('no space left on device');
    expect(await readdir(dirname(log))).toEqual(['minio.log']);
  });

  it('stops a build when the signal aborts', async () => {
    await fakeGo('exec /bin/sleep 60');
    const stopping = new AbortController();
    const building = getBinary('minio', {
      env,
      signal: stopping.signal,
      progress: () => stopping.abort(),
    });
    await expect(building).rejects.toThrow(stopping.signal.reason);
  });

  it('explains how to get the program if Go is not installed', async () => {
    await expect(getBinary('minio', { env })).rejects.toThrow(
      /install Go .*minio.*STORAGE_PROBE_MINIO.*quay\.io\/minio/,
    );
  });
});
