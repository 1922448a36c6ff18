/** `node deploy/local/build.ts [name…]`: gets the named servers (default: all) and prints the path of each. */
import { getBinary } from './binary.ts';
import { stopSignal } from './child.ts';
import { isServerName, SERVERS } from './servers.ts';

const signal = stopSignal();
const [, , ...args] = process.argv;
const names = args.length > 0 ? args : Object.keys(SERVERS);
try {
  for (const name of names) {
    if (!isServerName(name))
      throw new Error(`Unknown server ${name}. Use one of: ${Object.keys(SERVERS).join(', ')}.`);
    const binary = await getBinary(name, { signal, progress: (line) => console.error(line) });
    console.log(`${name}\t${binary}`);
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
