import { Command } from 'commander';

import type { CommandContext } from './context.ts';

export function validateCommand(context: CommandContext): Command {
  return new Command('validate')
    .summary('check StorageProbe files without running them')
    .description(
      'Checks files as the API server and `run` do. Exit code: 0 all are valid, 2 something is not.',
    )
    .requiredOption(
      '-f, --filename <file...>',
      'StorageProbe file, folder of files, or - for stdin; may be repeated',
    )
    .action(async ({ filename }: { filename: string[] }) => {
      const [{ readProbeFiles }, { planProbe }] = await Promise.all([
        import('./sources.ts'),
        import('../api/plan.ts'),
      ]);
      const { probes } = await readProbeFiles(filename, context);
      for (const { namespace, name, targets, objectSizesBytes } of probes.map(planProbe)) {
        const counts = `${count(targets.length, 'target')}, ${count(objectSizesBytes.length, 'object')}`;
        context.stdout.write(`storageprobe ${namespace}/${name}: valid (${counts})\n`);
      }
    });
}

function count(amount: number, noun: string): string {
  return `${amount} ${noun}${amount === 1 ? '' : 's'}`;
}
