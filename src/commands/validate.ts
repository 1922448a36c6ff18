import { Command } from 'commander';

import type { CommandContext } from './context.ts';

export function validateCommand(context: CommandContext): Command {
  return new Command('validate')
    .summary('check StorageProbe files without running them')
    .description(
      'Checks files with the same rules as the API server and `run`.\n' +
        'Exit codes: 0 all files are valid, 2 a file is invalid.',
    )
    .requiredOption(
      '-f, --filename <file...>',
      'StorageProbe file, directory of files, or - for stdin; can be repeated',
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
