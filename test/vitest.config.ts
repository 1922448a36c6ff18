import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'deploy/**/*.test.ts', 'test/support/**/*.test.ts'],
        },
      },
      {
        extends: true,
        test: {
          name: 'integration',
          include: ['test/{integration,charts}/**/*.test.ts'],
          globalSetup: ['test/integration/servers.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          // Most of the time is spent waiting for other processes.
          maxWorkers: 4,
          sequence: { shuffle: true },
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          globalSetup: ['test/e2e/stack.ts'],
          // More than all that a test waits for together: what it waits for in vain says so itself.
          testTimeout: 420_000,
          hookTimeout: 420_000,
          // They share the cluster, and each installs the operator as it needs it.
          maxWorkers: 1,
        },
      },
    ],
  },
});
