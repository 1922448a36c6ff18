import { ConsoleExporter } from '../telemetry/console-exporter.ts';
import type { OtelSettings } from '../telemetry/otel-env.ts';
import { otlpExporterFactory } from '../telemetry/otlp-exporter.ts';
import { RetryingExporter, type RetryingExporterOptions } from '../telemetry/retrying-exporter.ts';
import { type CommandContext, InputError, type Output } from './context.ts';

export interface SpanExporterOptions {
  readonly settings: OtelSettings;
  /** Before what the environment says. */
  readonly name?: string | undefined;
  /** Where the console exporter writes. */
  readonly console: Output;
  /** As {@link RetryingExporterOptions.onTurn}. */
  readonly onTurn?: RetryingExporterOptions['onTurn'];
}

/**
 * Where spans go; undefined for nowhere.
 *
 * @throws {InputError}
 */
export async function spanExporter(
  { settings, name = settings.exporter, console, onTurn }: SpanExporterOptions,
  { clock }: Pick<CommandContext, 'clock'>,
): Promise<ConsoleExporter | RetryingExporter | undefined> {
  if (settings.disabled) return undefined;
  const chosen = name ?? (settings.otlpEndpoint === undefined ? 'none' : 'otlp');
  switch (chosen) {
    case 'none':
      return undefined;
    case 'console':
      return new ConsoleExporter((text) => console.write(text));
    case 'otlp': {
      const create = await otlpExporterFactory(settings.protocol);
      return new RetryingExporter({ create, clock, random: Math.random, ...(onTurn && { onTurn }) });
    }
    default:
      throw new InputError(`OTEL_TRACES_EXPORTER: "${chosen}" is not known; accepted: none, console, otlp`);
  }
}
