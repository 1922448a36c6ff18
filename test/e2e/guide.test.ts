import { readFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { z } from 'zod';

import { runCommand } from '../../deploy/local/command.ts';
import { IMAGE } from '../../deploy/kind/release.ts';
import { getBinary } from '../../deploy/local/binary.ts';
import { forward, get, IMAGE_NAME, kubeconfigFile, kubectl, load, uninstallOperator } from './cluster.ts';
import { OPERATOR, STORAGE } from './releases.ts';

const ROOT = join(import.meta.dirname, '../..');
const GUIDE = 'docs/guides/install.md';
const GUIDE_MS = 600_000;
/** CustomResourceDefinitions of the Prometheus Operator. */
const DEFINITIONS = join(ROOT, 'test/charts/crds');

afterAll(uninstallOperator);

it.each(['probe-policy.json', 'existing-bucket-policy.json'])('quotes %s unchanged', async (name) => {
  const page = await readFile(join(ROOT, GUIDE), 'utf8');
  const policies = [...page.matchAll(/^```json\n([^]*?)^```$/gm)].map(
    ([, json = '']) => JSON.parse(json) as unknown,
  );
  const policy: unknown = JSON.parse(await readFile(join(ROOT, 'deploy/local/minio', name), 'utf8'));
  expect(policies).toContainEqual(policy);
});

it(`every command in ${GUIDE} works`, { timeout: GUIDE_MS }, async () => {
  const commands = await commandsOf(GUIDE);
  expect(commands.length).toBeGreaterThan(10);
  await kubectl('delete', 'namespace', OPERATOR, '--ignore-not-found', '--timeout=120s');
  await kubectl('apply', '--server-side', `--filename=${DEFINITIONS}`);
  await loadReleasedImage();

  await using minio = await forward('demo-minio', STORAGE, 9_000);
  const programs = await Promise.all((['mc', 'kubectl', 'helm'] as const).map((name) => getBinary(name)));
  // If a command fails, prints it as written in the guide. Variables are not expanded, because some contain keys.
  const script = ['trap \'echo "failed: $BASH_COMMAND"\' ERR', ...commands].join('\n');
  await runCommand('bash', ['-eEuo', 'pipefail', '-c', script], {
    cwd: ROOT,
    env: {
      ...process.env,
      PATH: [...programs.map((program) => dirname(program)), process.env['PATH']].join(delimiter),
      KUBECONFIG: kubeconfigFile,
      MC_HOST_store: await rootUrl(minio.address),
    },
    signal: AbortSignal.timeout(GUIDE_MS),
  });
  // The guide's last section uninstalls everything.
  expect(await kubectl('get', 'customresourcedefinitions', '--output=name')).not.toContain('storageprobe');
});

/** Returns the commands in the page's `sh` blocks. Other blocks show output or alternatives. */
async function commandsOf(page: string): Promise<string[]> {
  const text = await readFile(join(ROOT, page), 'utf8');
  return [...text.matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, commands = '']) => commands);
}

/** Loads the image onto the node under the chart's default image name. */
async function loadReleasedImage(): Promise<void> {
  const { version } = z
    .object({ version: z.string() })
    .parse(JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')));
  const released = `${IMAGE}:${version}`;
  await runCommand('docker', ['tag', IMAGE_NAME, released], { signal: AbortSignal.timeout(GUIDE_MS) });
  await load(released);
}

/** The store's URL with root credentials, in the format of `MC_HOST_<alias>`. */
async function rootUrl(address: string): Promise<string> {
  const { data } = await get<{ data: { rootUser: string; rootPassword: string } }>(
    'secret',
    'demo-minio',
    `--namespace=${STORAGE}`,
  );
  return `http://${atob(data.rootUser)}:${atob(data.rootPassword)}@${address}`;
}
