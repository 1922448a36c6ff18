import { build, type Plugin } from 'esbuild';

/** Defines `require`, because the gRPC packages are CommonJS. They load Node modules and their own files with it. */
const REQUIRE = `import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);`;

/**
 * OpenTelemetry's `NodeSDK` imports every exporter, propagator and instrumentation that it can create from the
 * environment. This program passes in its own exporter and none of the others, so the bundle leaves them out:
 * docs/decisions/0018-node-sdk.md. `registerInstrumentations` is the only function that `NodeSDK` still calls.
 */
const withoutUnusedTelemetry: Plugin = {
  name: 'without-unused-telemetry',
  setup(bundler) {
    const filter = /^@opentelemetry\/(?:configuration|exporter-.+|instrumentation|propagator-b3)$/;
    bundler.onResolve({ filter }, ({ path, importer }) =>
      importer.includes('/@opentelemetry/sdk-node/') ? { path, namespace: 'unused' } : undefined,
    );
    bundler.onLoad({ filter: /.*/, namespace: 'unused' }, () => ({
      contents: 'exports.registerInstrumentations = () => undefined;',
      loader: 'js',
    }));
  },
};

await build({
  entryPoints: ['src/main.ts'],
  outdir: 'dist',
  outExtension: { '.js': '.mjs' },
  bundle: true,
  // Lets each command load only what it needs.
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  plugins: [withoutUnusedTelemetry],
  banner: { js: REQUIRE },
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'linked',
  logLevel: 'warning',
});
