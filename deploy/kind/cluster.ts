import { getBinary } from '../local/binary.ts';
import { type CommandOptions, runCommand } from '../local/command.ts';
import type { Progress } from '../local/progress.ts';

const DELETE_MS = 60_000;

export interface ConnectOptions {
  readonly name: string;
  /** Default: kubectl's default kubeconfig. */
  readonly kubeconfigFile?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly progress?: Progress | undefined;
}

export interface ClusterOptions extends ConnectOptions {
  /** Configuration file for kind. */
  readonly configFile: string;
}

/** A kind cluster and the commands to use it. */
export interface Cluster {
  /** Flags that point kubectl at the cluster. */
  readonly kubectlFlags: readonly string[];
  /** Returns kubectl's stdout. @throws Error with kubectl's output if it fails. */
  kubectl(args: readonly string[], options?: CommandOptions): Promise<string>;
  /** Returns Helm's stdout. @throws Error with Helm's output if it fails. */
  helm(args: readonly string[], options?: CommandOptions): Promise<string>;
  /** Copies an image from the local Docker engine to the cluster's nodes. */
  load(image: string): Promise<void>;
  delete(): Promise<void>;
}

export async function hasCluster({
  name,
  signal,
}: Pick<ConnectOptions, 'name' | 'signal'>): Promise<boolean> {
  const names = await runCommand('kind', ['get', 'clusters'], { signal });
  return names.split('\n').includes(name);
}

/** Creates a cluster and waits until it is ready. If that fails, the cluster is deleted. */
export async function createCluster(options: ClusterOptions): Promise<void> {
  options.progress?.(`creating the cluster ${options.name}`);
  try {
    const flags = [`--config=${options.configFile}`, ...kubeconfigFlags(options), '--wait=180s'];
    await runKind(options, 'create', 'cluster', ...flags);
  } catch (error) {
    await deleteCluster(options).catch(() => undefined);
    throw error;
  }
}

/** Writes the connection details of an existing cluster to the kubeconfig. */
export async function exportKubeconfig(options: ConnectOptions): Promise<void> {
  await runKind(options, 'export', 'kubeconfig', ...kubeconfigFlags(options));
}

export async function connectCluster(options: ConnectOptions): Promise<Cluster> {
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

/** Ignores the caller's signal, so that the cluster is deleted even if that signal has aborted. */
function deleteCluster(options: ConnectOptions): Promise<void> {
  const signal = AbortSignal.timeout(DELETE_MS);
  return runKind({ ...options, signal }, 'delete', 'cluster', ...kubeconfigFlags(options));
}

async function runKind(
  { name, signal, progress }: ConnectOptions,
  ...args: readonly string[]
): Promise<void> {
  await runCommand('kind', [...args, `--name=${name}`], { signal, progress });
}

function kubeconfigFlags({ kubeconfigFile }: ConnectOptions): string[] {
  return kubeconfigFile === undefined ? [] : [`--kubeconfig=${kubeconfigFile}`];
}
