import { once } from 'node:events';
import { createInterface } from 'node:readline';

import { getBinary } from '../../deploy/local/binary.ts';
import { spawnChild } from '../../deploy/local/child.ts';

const START_MS = 30_000;

/** A kubectl process that listens on this machine until it is disposed of. */
export interface KubectlListener extends AsyncDisposable {
  /** `127.0.0.1:<port>` */
  readonly address: string;
}

/** Starts `kubectl proxy` or `kubectl port-forward`. Resolves once kubectl listens. */
export async function startKubectlListener(...args: readonly string[]): Promise<KubectlListener> {
  const child = await spawnChild(await getBinary('kubectl'), args, { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const { stdout } = child.process;
    if (stdout === null) throw new Error('kubectl has no stdout');
    const signal = AbortSignal.timeout(START_MS);
    const [line] = (await once(createInterface({ input: stdout }), 'line', { signal })) as [string];
    const [address] = /127\.0\.0\.1:\d+/.exec(line) ?? [];
    if (address === undefined) throw new Error(`kubectl ${args[0]} printed no address: ${line}`);
    return { address, [Symbol.asyncDispose]: () => child.stop() };
  } catch (error) {
    await child.stop();
    throw error;
  }
}
