import { getBinary } from '../local/binary.ts';
import type { Progress } from '../local/go-build.ts';
import { type CommandOptions, runCommand } from './command.ts';

export interface ReachOptions {
  readonly name: string;
  /** Where the way to the cluster is written. Default: where kubectl looks. */
  readonly kubeconfigFile?: string | undefined;
  readonly signal: AbortSignal;
  readonly progress?: Progress | undefined;
}

export interface ClusterOptions extends ReachOptions {
  /** Of kind. */
  readonly configFile: string;
}

/** A kind cluster, by the programs that reach it. */
export interface Cluster {
  /** Flags by which kubectl reaches it. */
  readonly kubectlFlags: readonly string[];
  /** Returns what kubectl printed. @throws Error with its words. */
  kubectl(args: readonly string[], options?: Partial<CommandOptions>): Promise<string>;
  /** Returns what Helm printed. @throws Error with its words. */
  helm(args: readonly string[], options?: Partial<CommandOptions>): Promise<string>;
  /** Brings an image of the engine to its nodes. */
  load(image: string): Promise<void>;
  delete(): Promise<void>;
}

/**
 * Makes a cluster unless it is there, and waits until it is ready.
 *
 * @returns whether it was made.
 */
export async function makeCluster(options: ClusterOptions): Promise<boolean> {
  const { name, configFile, signal, progress } = options;
  const there = await runCommand('kind', ['get', 'clusters'], { signal });
  const isThere = there.split('\n').includes(name);
  progress?.(isThere ? `the cluster ${name} is there` : `creating the cluster ${name}`);
  const action = isThere
    ? ['export', 'kubeconfig']
    : ['create', 'cluster', `--config=${configFile}`, '--wait=180s'];
  await runKind(options, ...action, ...kubeconfigFlags(options));
  return !isThere;
}

export async function reachCluster(options: ReachOptions): Promise<Cluster> {
  const { name, signal, progress } = options;
  const kubectl = await getBinary('kubectl', { signal, progress });
  const helm = await getBinary('helm', { signal, progress });
  const context = `kind-${name}`;
  const kubectlFlags = [...kubeconfigFlags(options), `--context=${context}`];
  const helmFlags = [...kubeconfigFlags(options), `--kube-context=${context}`];
  return {
    kubectlFlags,
    kubectl: ([verb = '', ...args], more) =>
      runCommand(kubectl, [verb, ...kubectlFlags, ...args], { signal, progress, ...more }),
    helm: ([verb = '', ...args], more) =>
      runCommand(helm, [verb, ...helmFlags, ...args], { signal, progress, ...more }),
    load: (image) => runKind(options, 'load', 'docker-image', image),
    delete: () => runKind(options, 'delete', 'cluster', ...kubeconfigFlags(options)),
  };
}

async function runKind({ name, signal, progress }: ReachOptions, ...args: readonly string[]): Promise<void> {
  await runCommand('kind', [...args, `--name=${name}`], { signal, progress });
}

function kubeconfigFlags({ kubeconfigFile }: ReachOptions): string[] {
  return kubeconfigFile === undefined ? [] : [`--kubeconfig=${kubeconfigFile}`];
}
