import { Command, Option } from 'commander';

import type { CommandContext, ExitCode } from '../context.ts';
import type { RunFlags } from './flags.ts';

export function runCommand(context: CommandContext, exit: (code: ExitCode) => void): Command {
  return new Command('run')
    .summary('run the probes of a file once, and say where it hurts')
    .description(
      'Runs the bucket workflow once against each target of the StorageProbes in FILE, or against --endpoint.\n' +
        'Exit code: 0 all passed, 1 a target failed, 2 a probe could not be run.',
    )
    .optionsGroup('What to probe:')
    .option('-f, --filename <file...>', 'StorageProbe file, folder of files, or - for stdin; may be repeated')
    .option(
      '--secret <name=source...>',
      'a Secret of the file: NAME=FILE, NAME=FOLDER or NAME=accessKey=…,secretKey=…; else AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or MINIO_ACCESS_KEY, MINIO_SECRET_KEY) hold for all targets',
    )
    .option('--target <name...>', 'only the targets of these names')
    .optionsGroup('A quick look without a file:')
    .addOption(quick('--endpoint <url>', 'probe this endpoint (or AWS_ENDPOINT_URL_S3, MINIO_ENDPOINT)'))
    .addOption(quick('--access-key <key>', 'access key (or AWS_ACCESS_KEY_ID, MINIO_ACCESS_KEY)'))
    .addOption(
      quick(
        '--secret-key <key>',
        'secret key; others see it in the process list, so rather use AWS_SECRET_ACCESS_KEY or MINIO_SECRET_KEY',
      ),
    )
    .addOption(quick('--region <region>', 'region (or AWS_REGION)'))
    .addOption(quick('--ca-file <file>', 'CA bundle, PEM (or AWS_CA_BUNDLE)'))
    .addOption(quick('--bucket <name>', 'use this existing bucket; without it, a bucket is made and removed'))
    .addOption(quick('--size <size...>', 'object sizes, for example 4Ki 1Mi'))
    .addOption(quick('--timeout <duration>', 'for one run, for example 20s'))
    .optionsGroup('How often:')
    .option('--count <n>', 'runs of each target', '1')
    .option('--every <duration>', 'from the start of one run to the start of the next, for example 10s')
    .optionsGroup('What to tell:')
    .addOption(
      new Option('-o, --output <format>', 'result format').choices(['text', 'json', 'yaml']).default('text'),
    )
    .addOption(
      new Option(
        '--exporter <name>',
        'where spans go; without it OTEL_TRACES_EXPORTER, else otlp if OTEL_EXPORTER_OTLP_ENDPOINT is set, else none',
      ).choices(['none', 'console', 'otlp']),
    )
    .addOption(
      new Option('--jaeger-url <url>', 'address of Jaeger, for a link to each trace').env(
        'STORAGE_PROBE_JAEGER_URL',
      ),
    )
    .option('--flush-timeout <duration>', 'how long to wait at the end for spans to be delivered', '5s')
    .addOption(
      new Option('--log-level <level>', 'JSON log lines on stderr')
        .choices(['silent', 'error', 'warn', 'info', 'debug'])
        .default('silent')
        .env('STORAGE_PROBE_LOG_LEVEL'),
    )
    .action(async (flags: RunFlags) => {
      const { run } = await import('./run.ts');
      exit(await run(flags, context));
    });
}

/** A file says these things itself. */
function quick(flags: string, description: string): Option {
  return new Option(flags, description).conflicts('filename');
}
