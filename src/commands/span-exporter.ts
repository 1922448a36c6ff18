import { readFileSync } from 'node:fs';

import { ConsoleExporter } from '../telemetry/console-exporter.ts';
import { otlpSettings, OtlpSettingsError } from '../telemetry/otlp-settings.ts';
import { otlpTransportFactory } from '../telemetry/otlp-transport.ts';
import { RetryingExporter, type RetryingExporterOptions } from '../telemetry/retrying-exporter.ts';
import { type AbortableExporter, FanOutExporter } from '../telemetry/span-exporters.ts';
import { type CommandContext, InputError, type Output } from './context.ts';

const SPAN_EXPORTERS = ['none', 'console', 'otlp'] as const;

export interface SpanExporterOptions {
  /** One or more names, separated by commas. Overrides the environment. */
  readonly names?: string | undefined;
  /** Output of the console exporter. */
  readonly console: Output;
  /** As {@link RetryingExporterOptions.onDeliveryChange}. */
  readonly onDeliveryChange?: RetryingExporterOptions['onDeliveryChange'];
}

export interface SpanExporters {
  /** Undefined if spans are not exported. */
  readonly exporter: AbortableExporter | undefined;
  /** Undefined if spans are not sent over OTLP. */
  readonly otlp: { readonly exporter: RetryingExporter; readonly host: string } | undefined;
}

/**
 * Creates the configured span exporters.
 *
 * @throws {InputError}
 */
export async function createSpanExporters(
  options: SpanExporterOptions,
  context: Pick<CommandContext, 'clock' | 'env'>,
): Promise<SpanExporters> {
  const names = exporterNames(options.names, context.env);
  const exporters: AbortableExporter[] = [];
  if (names.has('console')) exporters.push(new ConsoleExporter((text) => options.console.write(text)));
  const otlp = names.has('otlp') ? await createOtlpExporter(options, context) : undefined;
  if (otlp !== undefined) exporters.push(otlp.exporter);
  return { exporter: exporters.length > 1 ? new FanOutExporter(exporters) : exporters[0], otlp };
}

function exporterNames(flag: string | undefined, env: CommandContext['env']): ReadonlySet<string> {
  if (variable(env, 'OTEL_SDK_DISABLED') === 'true') return new Set();
  const hasEndpoint =
    variable(env, 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT') !== '' ||
    variable(env, 'OTEL_EXPORTER_OTLP_ENDPOINT') !== '';
  const given = flag?.toLowerCase() ?? variable(env, 'OTEL_TRACES_EXPORTER');
  const names = given.split(',').flatMap((name) => name.trim() || []);
  if (names.length === 0) return new Set(hasEndpoint ? ['otlp'] : []);
  const unknown = names.find((name) => !SPAN_EXPORTERS.some((known) => known === name));
  if (unknown !== undefined || (names.includes('none') && names.length > 1)) {
    throw new InputError(
      `${flag === undefined ? 'OTEL_TRACES_EXPORTER' : '--exporter'}: "${given}" is not supported; accepted: none, console, otlp, or console,otlp`,
    );
  }
  return new Set(names);
}

function variable(env: CommandContext['env'], name: string): string {
  return env[name]?.trim().toLowerCase() ?? '';
}

async function createOtlpExporter(
  { onDeliveryChange }: SpanExporterOptions,
  { clock, env }: Pick<CommandContext, 'clock' | 'env'>,
): Promise<SpanExporters['otlp']> {
  const settings = readOtlpSettings(env);
  const exporter = new RetryingExporter({
    create: await otlpTransportFactory(settings),
    clock,
    random: Math.random,
    timeoutMs: settings.timeoutMs,
    ...(onDeliveryChange && { onDeliveryChange }),
  });
  return { exporter, host: settings.url.host };
}

function readOtlpSettings(env: CommandContext['env']): ReturnType<typeof otlpSettings> {
  try {
    return otlpSettings({ env, readFile: (path) => readFileSync(path) });
  } catch (error) {
    if (error instanceof OtlpSettingsError) throw new InputError(...error.mistakes);
    throw error;
  }
}
