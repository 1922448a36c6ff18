import { Command } from 'commander';

import type { CommandContext } from './context.ts';

export function crdCommand(context: CommandContext): Command {
  return new Command('crd')
    .summary('print the CustomResourceDefinition of StorageProbe')
    .description(
      'Prints the CustomResourceDefinition of StorageProbe. To install it:\n' +
        '  storage-probe crd | kubectl apply -f -',
    )
    .action(async () => {
      const { crdYaml } = await import('../api/crd.ts');
      context.stdout.write(crdYaml());
    });
}
