import { expect, it } from 'vitest';

import { type CommandOptions, runCommand } from './command.ts';

function runNode(script: string, options: CommandOptions = {}): Promise<string> {
  return runCommand(process.execPath, ['--eval', script], options);
}

it('returns the stdout of the command', async () => {
  expect(await runNode('console.error("not this"); console.log("this")')).toBe('this\n');
});

it('reports the end of stdout and stderr when the command fails', async () => {
  const script =
    'for (let i = 0; i < 50; i++) console.log(`line ${i}`); console.error("why"); process.exit(3)';
  const failed = runNode(script);
  await expect(failed).rejects.toThrow(/^node --eval failed:\n {2}line 31\n[^]*line 49\n {2}why$/);
});

it('names a program that is not installed', async () => {
  await expect(runCommand('no-such-program', [])).rejects.toThrow('no-such-program is not installed');
});

it('stops the command when the signal aborts and rejects with its reason', async () => {
  const stopping = new AbortController();
  const running = runNode('setInterval(() => {}, 1000)', { signal: stopping.signal });
  stopping.abort(new Error('enough'));
  await expect(running).rejects.toThrow('enough');
});
