import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Returns a free port for a server that stops and later restarts on it. The port is below the ephemeral range of common
 * systems, so no other process is likely to get it meanwhile.
 */
export async function stablePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 30_000);
    const server = createServer();
    try {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
      await once(server.close(), 'close');
      return port;
    } catch {
      // The port is in use. Try another one.
    }
  }
}
