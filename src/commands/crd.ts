import { Command } from 'commander';

import type { CommandContext } from './context.ts';

export function crdCommand(context: CommandContext): Command {
  return new Command('crd')
    .summary('print the CustomResourceDefinition of StorageProbe')
    .description(
      'Prints what the API server must know of StorageProbes: storage-probe crd | kubectl apply -f -',
    )
    .action(async () => {
      const { crdYaml } = await import('../api/crd.ts');
      context.stdout.write(crdYaml());
    });
}
