#!/usr/bin/env -S node --max-semi-space-size=2 --heap-growing-percent=20
// Without these flags, V8 keeps about 200 MB more garbage: docs/performance.md, "The operator's memory".

import { Command, CommanderError } from 'commander';

import packageJson from '../package.json' with { type: 'json' };
import { systemClock } from './clock/system-clock.ts';
import { type CommandContext, EXIT, type ExitCode, InputError } from './commands/context.ts';
import { controllerCommand } from './commands/controller/command.ts';
import { crdCommand } from './commands/crd.ts';
import { runCommand } from './commands/run/command.ts';
import { validateCommand } from './commands/validate.ts';

const stopping = new AbortController();
let exitCode: ExitCode = EXIT.passed;

process.on('SIGINT', stop).on('SIGTERM', stop);
// A closed pipe, for example from `head`, is not an error: shut down in order.
process.stdout.on('error', () => {
  stopping.abort();
});

await main();

async function main(): Promise<void> {
  const context: CommandContext = {
    env: process.env,
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    clock: systemClock,
    signal: stopping.signal,
    version: packageJson.version,
  };
  const program = new Command('storage-probe')
    .description(packageJson.description)
    .version(packageJson.version)
    .exitOverride()
    .configureOutput({
      outputError: (text, write) => {
        write(
          `storage-probe: ${text
            .trim()
            .replace(/^error: /, '')
            .replaceAll('\n', ' ')}\n`,
        );
      },
    })
    .configureHelp({ showGlobalOptions: false });
  for (const command of [
    controllerCommand(context, exit),
    runCommand(context, exit),
    validateCommand(context),
    crdCommand(context),
  ]) {
    program.addCommand(command.copyInheritedSettings(program));
  }
  try {
    await program.parseAsync(process.argv);
  } catch (error) {
    exitCode = reportError(error);
  }
  // Exit explicitly: DNS look-ups and a channel to an unreachable Collector cannot be cancelled.
  process.stdout.write('', () => process.exit(exitCode));
}

function exit(code: ExitCode): void {
  exitCode = code;
}

/** The first signal starts an orderly shutdown with clean-up. The second exits immediately. */
function stop(): void {
  if (stopping.signal.aborted) process.exit(EXIT.unknown);
  stopping.abort();
}

function reportError(error: unknown): ExitCode {
  // commander has already printed the error or the requested help.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.passed : EXIT.unknown;
  const lines =
    error instanceof InputError ? error.lines : [`unexpected error: ${String(error)}; please report it`];
  for (const line of lines) process.stderr.write(`storage-probe: ${line}\n`);
  return EXIT.unknown;
}
