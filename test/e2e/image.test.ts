import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createGzip } from 'node:zlib';
import { beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { runCommand } from '../../deploy/local/command.ts';

const ROOT = join(import.meta.dirname, '../..');
const IMAGE = 'storage-probe:image-test';
const VERSION = '1.2.3-test';
const BUILD_DEADLINE_MS = 600_000;
const MAX_COMPRESSED_BYTES = 60_000_000;
/** Docker flags that match a Pod at Pod Security level `restricted`. */
const RESTRICTED = ['--read-only', '--user=65532', '--cap-drop=ALL', '--security-opt=no-new-privileges'];

const Image = z.object({
  Config: z.object({
    Entrypoint: z.array(z.string()),
    Labels: z.record(z.string(), z.string()),
    User: z.string(),
  }),
});

describe('the image', () => {
  beforeAll(async () => {
    await runCommand('make', ['image', `IMAGE=${IMAGE}`, `VERSION=${VERSION}`, 'REVISION=abc'], {
      cwd: ROOT,
    });
  }, BUILD_DEADLINE_MS);

  it('reports its version and source revision', async () => {
    expect(await runImage(['--version'])).toEqual({ code: 0, stdout: `${VERSION}\n`, stderr: '' });
    expect((await inspect()).Labels).toMatchObject({
      'org.opencontainers.image.version': VERSION,
      'org.opencontainers.image.revision': 'abc',
    });
  });

  it('prints the CustomResourceDefinition', async () => {
    const { stdout } = await runImage(['crd']);
    expect(stdout).toBe(await readRoot('deploy/crds/storageprobes.yaml'));
  });

  it('validates a probe from stdin', async () => {
    const sample = await readRoot('deploy/samples/my-minio.yaml');
    expect(await runImage(['validate', '-f', '-'], sample)).toMatchObject({ code: 0, stderr: '' });
    const wrong = await runImage(['validate', '-f', '-'], sample.replace('4Ki', '4KB'));
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('"4KB" is not a size') });
  });

  it('starts Node with the flags of the shebang line, as a non-root user', async () => {
    const [shebang = ''] = (await readRoot('src/main.ts')).split('\n');
    const flags = shebang.replace('#!/usr/bin/env -S node ', '').split(' ');
    const { Entrypoint, User } = await inspect();
    expect(Entrypoint).toEqual(['/nodejs/bin/node', ...flags, '/app/main.mjs']);
    expect(User).toBe('65532:65532');
  });

  it('contains the program and its licences, but no shell and no package manager', async () => {
    const files = await listFiles();
    const program = files.filter((file) => file.startsWith('app/') && !file.endsWith('/'));
    expect(program).toEqual(expect.arrayContaining(['app/main.mjs', 'app/LICENSE']));
    expect(program.filter((file) => !/\.mjs$|\.LEGAL\.txt$|^app\/LICENSE$/.test(file))).toEqual([]);
    expect(files.filter((file) => /(^|\/)(sh|bash|dash|busybox|npm|npx|yarn|corepack)$/.test(file))).toEqual(
      [],
    );
  });

  it('is smaller than 60 MB compressed', async () => {
    const save = spawn('docker', ['save', IMAGE], { stdio: ['ignore', 'pipe', 'inherit'] });
    const closed = once(save, 'close');
    let bytes = 0;
    for await (const chunk of save.stdout.pipe(createGzip())) bytes += (chunk as Buffer).length;
    expect(await closed).toEqual([0, null]);
    // Node alone takes up more than half of the limit.
    expect(bytes).toBeGreaterThan(MAX_COMPRESSED_BYTES / 2);
    expect(bytes).toBeLessThan(MAX_COMPRESSED_BYTES);
  });
});

async function runImage(
  args: readonly string[],
  input = '',
): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
  const flags = ['run', '--rm', '--interactive', '--network=none', ...RESTRICTED];
  const child = spawn('docker', [...flags, IMAGE, ...args], { stdio: 'pipe' });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin.end(input);
  await once(child, 'close');
  return { code: child.exitCode, stdout, stderr };
}

async function inspect(): Promise<z.infer<typeof Image>['Config']> {
  const inspected = await runCommand('docker', ['image', 'inspect', IMAGE]);
  const [image] = z.tuple([Image]).parse(JSON.parse(inspected));
  return image.Config;
}

/** Paths without a leading slash. Folders have a trailing slash. */
async function listFiles(): Promise<string[]> {
  const script = `id=$(docker create ${IMAGE}) && docker export $id | tar --list; docker rm $id >&2`;
  return (await runCommand('bash', ['-o', 'pipefail', '-c', script])).trim().split('\n');
}

function readRoot(path: string): Promise<string> {
  return readFile(join(ROOT, path), 'utf8');
}
