import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { startServer, type PortChooser, type RunningServer } from './running-server.ts';

let dir: string;
let logFile: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'storage-probe-server-'));
  logFile = join(dir, 'logs/server.log');
});

afterEach(() => rm(dir, { recursive: true, force: true }));

const HTTP_SERVER = `
  console.log('hello on stdout');
  require('node:http').createServer((_, response) => response.end(process.env.SECRET)).listen(process.env.PORT, '127.0.0.1')
    .on('error', () => { console.error('listen tcp: bind: address already in use'); process.exit(1); });`;

type Started = RunningServer & { readonly url: string };

function start(
  program: string,
  { port: wanted, signal }: { port?: number; signal?: AbortSignal } = {},
): Promise<Started> {
  return startServer({
    name: 'Server',
    binary: process.execPath,
    logFile,
    signal,
    async command(choosePort: PortChooser) {
      const port = await choosePort(wanted);
      const url = `http://127.0.0.1:${port}`;
      return {
        args: ['-e', program],
        env: { PORT: `${port}`, SECRET: 'only for the server' },
        healthUrls: [url],
        addresses: { url },
      };
    },
  });
}

describe('startServer', () => {
  it('starts a server, logs its output and stops it', async () => {
    const server = await start(HTTP_SERVER);
    expect(await (await fetch(server.url)).text()).toBe('only for the server');
    await Promise.all([server.stop(), server.stop()]);
    expect(await server.exited).toEqual({ code: null, signal: 'SIGTERM' });
    await expect(fetch(server.url)).rejects.toThrow('fetch failed');
    expect(await readFile(logFile, 'utf8')).toBe('hello on stdout\n');
  });

  it('restarts a killed server at the same address', async () => {
    const first = await start(HTTP_SERVER);
    first.kill('SIGKILL');
    expect(await first.exited).toEqual({ code: null, signal: 'SIGKILL' });
    await using second = await start(HTTP_SERVER, { port: Number(new URL(first.url).port) });
    expect(second.url).toBe(first.url);
  });

  it('stops a suspended server', async () => {
    const server = await start(HTTP_SERVER);
    server.kill('SIGSTOP');
    await server.stop();
    expect(await server.exited).toEqual({ code: null, signal: 'SIGTERM' });
  });

  it('fails with the end of the log when the server exits before it is ready', async () => {
    const starting = start(`console.error('bad flag'); process.exit(3)`);
    await expect(starting).rejects.toThrow(
      `Server exited before it was ready (exit code 3). The log is ${logFile} and ends with:\n  bad flag`,
    );
  });

  it('fails if the program does not exist', async () => {
    const starting = startServer({
      name: 'Server',
      binary: join(dir, 'nothing'),
      logFile,
      command: () => Promise.resolve({ args: [], env: {}, healthUrls: [], addresses: {} }),
    });
    await expect(starting).rejects.toThrow(/ENOENT/);
  });

  it.each([
    'bind: address already in use',
    'Unable to initialize console server: Specified port is already in use',
  ])('tries another port if the server reports %j', async (message) => {
    const failsOnce = `
      const marker = ${JSON.stringify(join(dir, 'marker'))};
      if (!require('node:fs').existsSync(marker)) {
        require('node:fs').writeFileSync(marker, '');
        console.error(${JSON.stringify(message)});
        process.exit(1);
      }
      ${HTTP_SERVER}`;
    await using server = await start(failsOnce);
    expect((await fetch(server.url)).status).toBe(200);
  });

  it('fails if the requested port is already in use', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const address = taken.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    await expect(start(HTTP_SERVER, { port: address.port })).rejects.toThrow('address already in use');
    taken.close();
  });

  it('stops the process when the signal aborts the start', async () => {
    const stopping = new AbortController();
    const pidFile = join(dir, 'pid');
    const program = `require('node:fs').writeFileSync(${JSON.stringify(pidFile)}, String(process.pid)); setInterval(() => {}, 1e6)`;
    const starting = start(program, { signal: stopping.signal });
    starting.catch(() => undefined);
    const pid = await waitForPid(pidFile);
    stopping.abort();
    await expect(starting).rejects.toThrow(/aborted/);
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  });

  it.each([
    { how: 'exit', want: 0 },
    { how: 'throw', want: 1 },
    { how: 'SIGTERM', want: 143 },
  ])('is killed when its parent stops: $how', async ({ how, want }) => {
    const script = join(dir, 'owner.mjs');
    await writeFile(
      script,
      `
      import { spawnChild } from ${JSON.stringify(join(import.meta.dirname, 'child.ts'))};
      const child = await spawnChild(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'inherit' });
      console.log('started');
      if ('${how}' === 'exit') process.exit(0);
      if ('${how}' === 'throw') throw new Error('failure');`,
    );
    const owner = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'ignore'] });
    await once(owner.stdout, 'data');
    if (how === 'SIGTERM') owner.kill('SIGTERM');
    // The pipe closes only after the child has also exited.
    expect((await once(owner, 'close'))[0]).toBe(want);
  });
});

async function waitForPid(file: string): Promise<number> {
  let pid = 0;
  await expect
    .poll(async () => {
      pid = Number(await readFile(file, 'utf8').catch(() => ''));
      return pid;
    })
    .toBeGreaterThan(0);
  return pid;
}
