#!/usr/bin/env -S node --max-semi-space-size=2 --heap-growing-percent=20
// Left alone, V8 keeps 200 MB more of what nobody needs any more: docs/performance.md, "The operator's memory".

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
// A reader that went away, like `head`, is no fault of ours; what is under way ends in order.
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
    exitCode = tell(error);
  }
  // A look-up of a name, or a channel to a Collector that is away, cannot be cancelled: nothing waits for them.
  process.stdout.write('', () => process.exit(exitCode));
}

function exit(code: ExitCode): void {
  exitCode = code;
}

/** The first signal asks for an orderly end, clean-up included; the second ends at once. */
function stop(): void {
  if (stopping.signal.aborted) process.exit(EXIT.unknown);
  stopping.abort();
}

function tell(error: unknown): ExitCode {
  // commander has told the user already, or has printed the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.passed : EXIT.unknown;
  const lines =
    error instanceof InputError ? error.lines : [`unexpected error: ${String(error)}; please report it`];
  for (const line of lines) process.stderr.write(`storage-probe: ${line}\n`);
  return EXIT.unknown;
}
