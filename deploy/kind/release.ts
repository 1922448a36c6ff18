import { join } from 'node:path';

import type { Cluster } from './cluster.ts';
import { type CommandOptions, runCommand } from '../local/command.ts';

const ROOT = join(import.meta.dirname, '../..');
/** As charts/storage-probe names it, without a tag. */
export const IMAGE = 'ghcr.io/storageprobe/storage-probe';
/** The nodes may have to pull images. */
const INSTALL_DEADLINE = '10m';

/** One installation of a chart. */
export interface Release {
  readonly name: string;
  readonly namespace: string;
  /** Folder of the chart. */
  readonly chart: string;
  readonly valuesFile?: string;
  /** They count before those of the file. */
  readonly values?: object;
}

/**
 * Installs or upgrades a release, and waits until all of it is ready.
 *
 * @param deadline as Helm takes it.
 * @returns what Helm printed.
 */
export function installRelease(
  cluster: Cluster,
  release: Release,
  deadline = INSTALL_DEADLINE,
): Promise<string> {
  const args = ['upgrade', '--install', ...chartArguments(release)];
  return cluster.helm([...args, '--wait', `--timeout=${deadline}`], { input: valuesOf(release) });
}

/** Brings the images of releases to a cluster, as far as the engine has them: the nodes need not pull those. */
export async function loadImages(
  cluster: Cluster,
  releases: readonly Release[],
  options: CommandOptions,
): Promise<void> {
  const rendered = await Promise.all(
    releases.map((release) =>
      cluster.helm(['template', ...chartArguments(release)], { input: valuesOf(release) }),
    ),
  );
  const named = rendered.join('\n').matchAll(/^\s*(?:- )?image: "?([^"\s]+)"?$/gm);
  for (const image of new Set([...named].map(([, name = '']) => name))) {
    if (await isInEngine(image, options)) {
      options.progress?.(`loading ${image}`);
      await cluster.load(image);
    } else {
      options.progress?.(`${image} is not here: the cluster pulls it`);
    }
  }
}

/**
 * Builds the operator's image from this checkout.
 *
 * @returns its tag: another one for another content, so that an upgrade replaces the Pods.
 */
export async function buildImage(options: CommandOptions): Promise<string> {
  const latest = `${IMAGE}:latest`;
  options.progress?.('building the image');
  await runCommand('make', ['image', `IMAGE=${latest}`], { ...options, cwd: ROOT });
  const id = await runCommand('docker', ['image', 'inspect', '--format={{.Id}}', latest], options);
  const tag = id.trim().replace('sha256:', '').slice(0, 12);
  await runCommand('docker', ['tag', latest, `${IMAGE}:${tag}`], options);
  return tag;
}

async function isInEngine(image: string, options: CommandOptions): Promise<boolean> {
  try {
    await runCommand('docker', ['image', 'inspect', image], options);
    return true;
  } catch {
    options.signal?.throwIfAborted();
    return false;
  }
}

function chartArguments({ name, chart, namespace, valuesFile }: Release): string[] {
  const files = valuesFile === undefined ? ['-'] : [valuesFile, '-'];
  return [name, chart, `--namespace=${namespace}`, ...files.map((file) => `--values=${file}`)];
}

/** JSON is YAML, too. */
function valuesOf({ values = {} }: Release): string {
  return JSON.stringify(values);
}
