import { Command } from 'commander';

import type { CommandContext, ExitCode } from '../context.ts';
import { controllerOptions, controllerSettings, OTEL_NOTE } from './flags.ts';

export function controllerCommand(context: CommandContext, exit: (code: ExitCode) => void): Command {
  const command = new Command('controller')
    .summary('run the StorageProbes in a cluster on their schedules')
    .description(
      'Watches StorageProbe resources and runs each on its schedule.\n' +
        'Reports each run in a trace, a log line, metrics and the status of the resource.',
    )
    .addHelpText('after', `\n${OTEL_NOTE}`)
    .action(async (given: Record<string, string | boolean | undefined>) => {
      const settings = controllerSettings(given, context.env);
      const { controller } = await import('./controller.ts');
      exit(await controller(settings, context));
    });
  for (const option of controllerOptions()) command.addOption(option);
  return command;
}
