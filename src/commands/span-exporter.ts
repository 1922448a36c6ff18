import { ConsoleExporter } from '../telemetry/console-exporter.ts';
import type { OtelSettings } from '../telemetry/otel-env.ts';
import { otlpExporterFactory } from '../telemetry/otlp-exporter.ts';
import { RetryingExporter, type RetryingExporterOptions } from '../telemetry/retrying-exporter.ts';
import { type CommandContext, InputError, type Output } from './context.ts';

export interface SpanExporterOptions {
  readonly settings: OtelSettings;
  /** Exporter name. Overrides the environment. */
  readonly name?: string | undefined;
  /** Output of the console exporter. */
  readonly console: Output;
  /** As {@link RetryingExporterOptions.onDeliveryChange}. */
  readonly onDeliveryChange?: RetryingExporterOptions['onDeliveryChange'];
}

/**
 * Creates the configured span exporter. Returns undefined if spans are not exported.
 *
 * @throws {InputError}
 */
export async function createSpanExporter(
  { settings, name = settings.exporter, console, onDeliveryChange }: SpanExporterOptions,
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
      return new RetryingExporter({
        create,
        clock,
        random: Math.random,
        ...(onDeliveryChange && { onDeliveryChange }),
      });
    }
    default:
      throw new InputError(
        `OTEL_TRACES_EXPORTER: "${chosen}" is not supported; accepted: none, console, otlp`,
      );
  }
}
