import { open } from 'node:fs/promises';

/** Longest web identity token, in bytes. Source: AWS STS API Reference, `AssumeRoleWithWebIdentity`: 20,000 characters. */
const MAX_TOKEN_BYTES = 20_000;

/** Reads a web identity token. The message of an error names the file and why it cannot be read. */
export async function readTokenFile(file: string, signal: AbortSignal): Promise<string> {
  try {
    await using handle = await open(file);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(MAX_TOKEN_BYTES + 1));
    signal.throwIfAborted();
    if (bytesRead <= MAX_TOKEN_BYTES) return buffer.toString('utf8', 0, bytesRead);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
    throw new Error(`${file} (${code})`, { cause });
  }
  throw new Error(`${file} is longer than ${MAX_TOKEN_BYTES} bytes`);
}
