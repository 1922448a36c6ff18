import { join } from 'node:path';

import type { Cluster } from './cluster.ts';
import { type CommandOptions, runCommand } from '../local/command.ts';

const ROOT = join(import.meta.dirname, '../..');
/** Default image of charts/storage-probe, without the tag. */
export const IMAGE = 'ghcr.io/storageprobe/storage-probe';
/** Long enough for the nodes to pull images. */
const INSTALL_DEADLINE = '10m';

/** One installation of a chart. */
export interface Release {
  readonly name: string;
  readonly namespace: string;
  /** Path of the chart's folder. */
  readonly chart: string;
  readonly valuesFile?: string;
  /** These override the values in `valuesFile`. */
  readonly values?: object;
}

/**
 * Installs or upgrades a release and waits until all its resources are ready.
 *
 * @param deadline in Helm's duration format.
 * @returns Helm's stdout.
 */
export function installRelease(
  cluster: Cluster,
  release: Release,
  deadline = INSTALL_DEADLINE,
): Promise<string> {
  const args = ['upgrade', '--install', ...chartArguments(release)];
  return cluster.helm([...args, '--wait', `--timeout=${deadline}`], { input: valuesOf(release) });
}

/** Copies the releases' images to the cluster if the local Docker engine has them. The nodes pull the others. */
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
  const matches = rendered.join('\n').matchAll(/^\s*(?:- )?image: "?([^"\s]+)"?$/gm);
  for (const image of new Set([...matches].map(([, name = '']) => name))) {
    if (await isInEngine(image, options)) {
      options.progress?.(`loading ${image}`);
      await cluster.load(image);
    } else {
      options.progress?.(`${image} is not in the local Docker engine; the cluster will pull it`);
    }
  }
}

/**
 * Builds the operator's image from this checkout.
 *
 * @returns the image's tag, which is derived from its content, so that an upgrade to a new build replaces the Pods.
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

/** JSON is valid YAML. */
function valuesOf({ values = {} }: Release): string {
  return JSON.stringify(values);
}
