import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * A port for a server that goes and comes back: free, and below all that systems give to those who ask for any port,
 * so that nobody takes it meanwhile.
 */
export async function portToComeBackTo(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 30_000);
    const server = createServer();
    try {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
      await once(server.close(), 'close');
      return port;
    } catch {
      // Taken; the next one may not be.
    }
  }
}
