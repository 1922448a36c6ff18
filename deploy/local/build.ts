/** `node deploy/local/build.ts [name…]`: gets the named servers, by default all, and prints where each is. */
import { getBinary } from './binary.ts';
import { stopSignal } from './child.ts';
import { isServerName, SERVERS } from './servers.ts';

const signal = stopSignal();
const [, , ...asked] = process.argv;
const names = asked.length > 0 ? asked : Object.keys(SERVERS);
try {
  for (const name of names) {
    if (!isServerName(name)) throw new Error(`There is no ${name}, only ${Object.keys(SERVERS).join(', ')}.`);
    const binary = await getBinary(name, { signal, progress: (line) => console.error(line) });
    console.log(`${name}\t${binary}`);
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
