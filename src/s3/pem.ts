const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----([\s\S]*?)-----END \1-----/g;

export interface PemBlock {
  readonly label: string;
  readonly text: string;
}

/**
 * Returns the PEM blocks of a text, each with regular line breaks. Text between them is ignored. Values pasted into
 * YAML or an env file may be indented, or have `\n` for line breaks.
 */
export function pemBlocks(text: string): PemBlock[] {
  return Array.from(text.matchAll(BLOCK), ([, label = '', body = '']) => ({
    label,
    // A header such as `Proc-Type: 4,ENCRYPTED` ends with an empty line, which must stay.
    text: body.includes(':')
      ? `-----BEGIN ${label}-----${body}-----END ${label}-----\n`
      : wrapped(label, body),
  }));
}

export function isCertificate({ label }: PemBlock): boolean {
  return label === 'CERTIFICATE' || label === 'X509 CERTIFICATE' || label === 'TRUSTED CERTIFICATE';
}

export function isPrivateKey({ label }: PemBlock): boolean {
  return label.endsWith('PRIVATE KEY');
}

function wrapped(label: string, body: string): string {
  const lines = body.replaceAll(/\\[nr]|\s/g, '').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
