import { getBinary } from '../local/binary.ts';
import { type CommandOptions, runCommand } from '../local/command.ts';
import type { Progress } from '../local/progress.ts';

const DELETE_MS = 60_000;

export interface ReachOptions {
  readonly name: string;
  /** Where the way to the cluster is written. Default: where kubectl looks. */
  readonly kubeconfigFile?: string | undefined;
  readonly signal?: AbortSignal | undefined;
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
  kubectl(args: readonly string[], options?: CommandOptions): Promise<string>;
  /** Returns what Helm printed. @throws Error with its words. */
  helm(args: readonly string[], options?: CommandOptions): Promise<string>;
  /** Brings an image of the engine to its nodes. */
  load(image: string): Promise<void>;
  delete(): Promise<void>;
}

export async function hasCluster({ name, signal }: Pick<ReachOptions, 'name' | 'signal'>): Promise<boolean> {
  const names = await runCommand('kind', ['get', 'clusters'], { signal });
  return names.split('\n').includes(name);
}

/** Makes a cluster, and waits until it is ready. One that does not get ready is deleted again. */
export async function makeCluster(options: ClusterOptions): Promise<void> {
  options.progress?.(`creating the cluster ${options.name}`);
  try {
    const flags = [`--config=${options.configFile}`, ...kubeconfigFlags(options), '--wait=180s'];
    await runKind(options, 'create', 'cluster', ...flags);
  } catch (error) {
    await deleteCluster(options).catch(() => undefined);
    throw error;
  }
}

/** Writes the way to a cluster into the kubeconfig, for one that was made elsewhere. */
export async function exportKubeconfig(options: ReachOptions): Promise<void> {
  await runKind(options, 'export', 'kubeconfig', ...kubeconfigFlags(options));
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
    delete: () => deleteCluster(options),
  };
}

/** Also when the signal has aborted. */
function deleteCluster(options: ReachOptions): Promise<void> {
  const signal = AbortSignal.timeout(DELETE_MS);
  return runKind({ ...options, signal }, 'delete', 'cluster', ...kubeconfigFlags(options));
}

async function runKind({ name, signal, progress }: ReachOptions, ...args: readonly string[]): Promise<void> {
  await runCommand('kind', [...args, `--name=${name}`], { signal, progress });
}

function kubeconfigFlags({ kubeconfigFile }: ReachOptions): string[] {
  return kubeconfigFile === undefined ? [] : [`--kubeconfig=${kubeconfigFile}`];
}
