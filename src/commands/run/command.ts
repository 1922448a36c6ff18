import { Command, Option } from 'commander';

import type { CommandContext, ExitCode } from '../context.ts';
import type { RunFlags } from './flags.ts';

export function runCommand(context: CommandContext, exit: (code: ExitCode) => void): Command {
  return new Command('run')
    .summary('run probes once and show where each run spends its time')
    .description(
      'Runs the bucket workflow once against every target in the given files, or against --endpoint.\n' +
        'Exit codes: 0 all runs passed, 1 a target failed, 2 a probe could not run.',
    )
    .optionsGroup('Probe files:')
    .option(
      '-f, --filename <file...>',
      'StorageProbe file, directory of files, or - for stdin; can be repeated',
    )
    .option(
      '--secret <name=source...>',
      'Secret that the file refers to: NAME=FILE, NAME=DIRECTORY or NAME=accessKey=…,secretKey=…; targets whose Secret is not given here use AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or MINIO_ACCESS_KEY and MINIO_SECRET_KEY), a web identity, or AWS_PROFILE',
    )
    .option('--config-map <name=source...>', 'ConfigMap that the file refers to: NAME=FILE or NAME=DIRECTORY')
    .option('--target <name...>', 'run only these targets')
    .optionsGroup('Without a file:')
    .addOption(endpointOption('--endpoint <url>', 'S3 endpoint (env: AWS_ENDPOINT_URL_S3, MINIO_ENDPOINT)'))
    .addOption(endpointOption('--access-key <key>', 'access key (env: AWS_ACCESS_KEY_ID, MINIO_ACCESS_KEY)'))
    .addOption(
      endpointOption(
        '--secret-key <key>',
        'secret key; visible in the process list, so prefer AWS_SECRET_ACCESS_KEY or MINIO_SECRET_KEY',
      ),
    )
    .addOption(endpointOption('--region <region>', 'region (env: AWS_REGION, AWS_DEFAULT_REGION)'))
    .addOption(endpointOption('--ca-file <file>', 'CA bundle in PEM format (env: AWS_CA_BUNDLE)'))
    .addOption(endpointOption('--bucket <name>', 'existing bucket to use (default: a temporary bucket)'))
    .addOption(endpointOption('--size <size...>', 'object sizes, for example 4Ki 1Mi'))
    .addOption(endpointOption('--timeout <duration>', 'time limit for one run, for example 20s'))
    .optionsGroup('Repetition:')
    .option('--count <n>', 'number of runs per target', '1')
    .option('--every <duration>', 'time between the starts of two runs, for example 10s')
    .optionsGroup('Output:')
    .addOption(
      new Option('-o, --output <format>', 'output format').choices(['text', 'json', 'yaml']).default('text'),
    )
    .addOption(
      new Option(
        '--exporter <names>',
        'span exporters: none, console, otlp, or console,otlp (default: OTEL_TRACES_EXPORTER, then otlp if OTEL_EXPORTER_OTLP_ENDPOINT is set, then none)',
      ),
    )
    .addOption(
      new Option('--jaeger-url <url>', 'URL of Jaeger; prints a link to each trace').env(
        'STORAGE_PROBE_JAEGER_URL',
      ),
    )
    .option('--flush-timeout <duration>', 'time limit for delivering the last spans before exit', '5s')
    .addOption(
      new Option('--log-level <level>', 'minimum level of the JSON logs on stderr')
        .choices(['silent', 'error', 'warn', 'info', 'debug'])
        .default('silent')
        .env('STORAGE_PROBE_LOG_LEVEL'),
    )
    .action(async (flags: RunFlags) => {
      const { run } = await import('./run.ts');
      exit(await run(flags, context));
    });
}

/** An option that conflicts with `--filename`, since a probe file has its own field for it. */
function endpointOption(flags: string, description: string): Option {
  return new Option(flags, description).conflicts('filename');
}
